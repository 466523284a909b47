"""Running statistics over micro-batches: `backnorm.torch.accumulate`."""

from __future__ import annotations

from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

from torch import nn  # noqa: E402
from torch.utils.checkpoint import checkpoint  # noqa: E402

import backnorm.torch as ours  # noqa: E402
from backnorm.errors import NotSupportedError, RangeError  # noqa: E402
from backnorm.torch import accumulate  # noqa: E402

X = torch.randn(24, 2, 3, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
X[8:] += 2.0

MODULES = (nn.BatchNorm2d, ours.BatchNorm2d, ours.BatchNormAct2d)


def moved(layer: Any, *parts: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the running statistics after one step for each part, taken as one batch."""
    mean, var = layer.running_mean.clone(), layer.running_var.clone()
    for part in parts:
        mean = 0.9 * mean + 0.1 * part.mean((0, 2, 3))
        var = 0.9 * var + 0.1 * part.var((0, 2, 3))
    return mean, var


def assert_near(layer: Any, wanted: tuple[torch.Tensor, torch.Tensor]) -> None:
    """Assert running statistics, to the rounding of float64."""
    for got, want in zip((layer.running_mean, layer.running_var), wanted, strict=True):
        torch.testing.assert_close(got, want, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("module", MODULES)
def test_k_micro_batches_are_one_update(module: Any) -> None:
    """And those that are left are the last one."""
    layer = module(2).double()
    wanted = moved(layer, X[:16], X[16:])
    with accumulate(layer, 4):
        for part in X[:16].split(4):
            layer(part)
        assert layer.num_batches_tracked.item() == 1
        for part in X[16:].split(3):
            layer(part)
    assert_near(layer, wanted)
    assert layer.num_batches_tracked.item() == 2
    assert layer.track_running_stats


def test_without_k_the_block_is_one_update() -> None:
    """In any order and cut, to the last bit."""
    found = set()
    for parts in (X.split(24), X.split(5), X.flip(0).split(1)):
        layer = nn.BatchNorm2d(2)
        with accumulate(layer):
            for part in parts:
                layer(part.float())
        found.add((*layer.running_mean.tolist(), *layer.running_var.tolist()))
    assert len(found) == 1


@pytest.mark.parametrize("module", MODULES)
def test_outputs_and_gradients_are_those_without_it(module: Any) -> None:
    """The micro-batch normalizes itself, and all backward passes may come after all forwards."""
    results = []
    for used in (True, False):
        layer = module(2).double()
        x = X.clone().requires_grad_()
        if used:
            with accumulate(layer, 2):
                ys = [layer(part) for part in x.split(6)]
        else:
            ys = [layer(part) for part in x.split(6)]
        torch.cat(ys).square().mul(torch.arange(2.0)[:, None, None]).sum().backward()
        results.append((*ys, x.grad, layer.weight.grad))
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))


def test_evaluation_does_not_count() -> None:
    """It uses the running statistics as they are then."""
    layer = nn.BatchNorm2d(2).double()
    wanted = moved(layer, X[:12])
    with accumulate(layer, 2):
        layer(X[:6])
        layer.eval()
        assert torch.equal(layer(X), nn.BatchNorm2d(2).double().eval()(X))
        layer.train()
        layer(X[6:12])
        assert_near(layer, wanted)
    assert layer.num_batches_tracked.item() == 1


def test_layers_that_evaluate_in_a_model_that_trains_stay() -> None:
    """They are frozen."""
    model = nn.Sequential(nn.BatchNorm2d(2), nn.BatchNorm2d(2)).double()
    model[0].eval()
    with accumulate(model):
        model(X)
    assert model[0].num_batches_tracked.item() == 0
    assert model[1].num_batches_tracked.item() == 1


def test_a_layer_that_is_called_twice_in_a_pass_is_updated_once() -> None:
    """Forward passes of the model are counted, not calls of its layers."""
    layer = nn.BatchNorm2d(2).double()

    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = layer

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.layer(x) + self.layer(input=2 * x)  # type: ignore[no-any-return] # a module

    model, wanted = Twice(), moved(layer, torch.cat([X, 2 * X]))
    with accumulate(model, 2):
        model(X[:8])
        assert layer.num_batches_tracked.item() == 0
        model(X[8:])
        assert_near(layer, wanted)
    assert layer.num_batches_tracked.item() == 1


def test_a_cumulative_average_counts_updates() -> None:
    """With momentum=None each update has the same weight."""
    layer = nn.BatchNorm2d(2, momentum=None).double()
    with accumulate(layer, 2):
        for part in X.split(6):
            layer(part)
    means = torch.stack([X[:12].mean((0, 2, 3)), X[12:].mean((0, 2, 3))])
    torch.testing.assert_close(layer.running_mean, means.mean(0), rtol=1e-13, atol=1e-13)


def test_an_exception_leaves_out_what_is_not_complete() -> None:
    """The update before it stays, and the layer is as it was."""
    layer = nn.BatchNorm2d(2).double()
    wanted = moved(layer, X[:8])

    def fail() -> None:
        with accumulate(layer, 2):
            for part in X[:12].split(4):
                layer(part)
            raise KeyError("broken")

    with pytest.raises(KeyError, match="broken"):
        fail()
    assert_near(layer, wanted)
    assert layer.track_running_stats
    assert not layer._forward_hooks
    assert not layer._forward_pre_hooks


def test_a_checkpointed_pass_counts_once() -> None:
    """The backward pass repeats it; without this block its statistics would count twice."""
    layer = nn.BatchNorm2d(2).double()
    wanted = moved(layer, X)

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = layer

        def forward(self, x: torch.Tensor) -> Any:
            return checkpoint(self.layer, x, use_reentrant=False)

    model = Model()
    with accumulate(model, 2):
        for part in (X[:8], X[8:]):
            model(part.clone().requires_grad_()).square().sum().backward()
    assert_near(layer, wanted)


def test_a_compiled_model_is_updated_as_well() -> None:
    """Also by a graph that was made before the block."""
    model = nn.Sequential(nn.BatchNorm2d(2)).double()
    compiled = torch.compile(model, backend="eager")
    compiled(X)
    wanted = moved(model[0], X)
    with accumulate(compiled, 2):
        compiled(X[:12])
        compiled(X[12:])
    assert_near(model[0], wanted)


@pytest.mark.parametrize("k", [0, -1, 1.5, "2"])
def test_another_k_is_refused(k: Any) -> None:
    """Before the block begins."""
    with (
        pytest.raises(RangeError, match="k must be a whole number, 1 or greater, or None"),
        accumulate(nn.BatchNorm2d(2), k),
    ):
        pass


@pytest.mark.parametrize("by_place", [True, False])
def test_a_mask_hides_values(by_place: Any) -> None:
    """What counts of a masked call is pooled, if anything does; weights that differ are refused."""
    x = torch.tensor([[1.0], [3.0], [float("nan")], [11.0]])
    mask = torch.tensor([True, True, False, True])
    for counts in (mask, mask * 0.5):
        layer = ours.BatchNorm1d(1, momentum=1.0)
        with accumulate(layer):
            _ = layer(x, None, counts) if by_place else layer(x, mask=counts)
            _ = layer(x, mask=torch.zeros_like(counts))
        assert layer.running_mean.item() == 5.0
        assert layer.running_var.item() == 28.0
    layer = ours.BatchNorm1d(1)
    with pytest.raises(NotSupportedError, match="pooled with weights"), accumulate(layer):
        layer(x, mask=torch.tensor([1.0, 2.0, 0.0, 1.0]))

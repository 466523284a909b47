"""Running statistics of a data set: `backnorm.torch.update_bn`."""

from __future__ import annotations

import copy
import io
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

from torch import nn  # noqa: E402
from torch.optim import swa_utils  # noqa: E402

import backnorm.torch as ours  # noqa: E402
from backnorm.errors import RangeError, UnknownNameError  # noqa: E402
from backnorm.torch import update_bn  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Iterator

SORTED = torch.cat(
    [torch.randn(32, 1, generator=torch.Generator().manual_seed(k)) + k for k in range(7)]
)
"""Seven classes around 0 to 6, one after the other: the variance is near 1 + 4, within them 1."""


def batches(x: torch.Tensor, size: int) -> list[torch.Tensor]:
    """Cut a data set into batches."""
    return list(x.split(size))


def statistics(model: nn.Module) -> dict[str, torch.Tensor]:
    """Return the running statistics of a model."""
    return {k: v.clone() for k, v in model.state_dict().items() if "running" in k}


def network(seed: int = 0) -> nn.Sequential:
    """Return two normalizations, with layers before, between and behind."""
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Linear(3, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Dropout(0.5), nn.Linear(4, 5),
        ours.BatchNormAct1d(5), nn.Linear(5, 2),
    ).double()  # fmt: skip


DATA = torch.randn(60, 3, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
DATA[:20] += 3.0


def test_the_stock_function_is_wrong_on_a_sorted_loader() -> None:
    """It averages the variances within batches, 1.00, where the data have 5.13."""
    stock, own = nn.BatchNorm1d(1), nn.BatchNorm1d(1)
    swa_utils.update_bn(batches(SORTED, 32), stock)
    update_bn(batches(SORTED, 32), own)
    truth = float(SORTED.double().var())
    assert stock.running_var.item() == pytest.approx(1.00, abs=0.01)
    assert truth == pytest.approx(5.13, abs=0.01)
    assert own.running_var.item() == pytest.approx(truth, rel=1e-6)
    assert own.running_mean.item() == pytest.approx(float(SORTED.double().mean()), rel=1e-6)


def test_the_stock_function_trains_layers_that_are_frozen() -> None:
    """Ours leaves alone what evaluates in a model that trains, and what has momentum 0."""

    def model() -> nn.Sequential:
        made = nn.Sequential(nn.BatchNorm1d(1), nn.BatchNorm1d(1), nn.BatchNorm1d(1, momentum=0.0))
        made[1].eval()
        return made

    stock, own = model(), model()
    swa_utils.update_bn(batches(SORTED, 32), stock)
    assert stock[1].training
    assert stock[1].running_var.item() != 1.0
    update_bn(batches(SORTED, 32), own)
    assert [m.training for m in own.modules()] == [True, True, False, True]
    for frozen in own[1:]:
        assert frozen.state_dict() == nn.BatchNorm1d(1, affine=True).state_dict()
    assert own[0].running_var.item() != 1.0
    for variance in ("total", "within"):
        update_bn(batches(SORTED, 32), own, variance=variance)
        assert own[2].num_batches_tracked.item() == 0


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bfloat16"])
@pytest.mark.parametrize("module", [nn.BatchNorm1d, ours.BatchNorm1d, ours.BatchNormAct1d])
def test_the_result_is_the_correctly_rounded_one(module: Any, dtype: str) -> None:
    """Beside exact arithmetic: one rounding to float64, another to the dtype of the layer."""
    x = (SORTED[:24] + 100.0).to(getattr(torch, dtype))
    layer = module(1).to(x.dtype)
    update_bn(batches(x, 5), layer)
    values = [Fraction(v) for v in x.double().flatten().tolist()]
    mean = sum(values) / len(values)
    var = sum((v - mean) ** 2 for v in values) / (len(values) - 1)
    for got, want in ((layer.running_mean, mean), (layer.running_var, var)):
        assert torch.equal(got, torch.tensor([float(want)], dtype=torch.float64).to(x.dtype))


@pytest.mark.parametrize(
    ("dims", "shape"), [(1, (6, 3, 5)), (2, (6, 3, 4, 5)), (3, (6, 3, 2, 4, 5))]
)
@pytest.mark.parametrize("package", [nn, ours], ids=["torch.nn", "backnorm.torch"])
def test_layers_of_every_kind(package: Any, dims: int, shape: tuple[int, ...]) -> None:
    """In any memory format, and all layers without running statistics are left alone."""
    x = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    if dims == 2:
        x = x.contiguous(memory_format=torch.channels_last)
    module = getattr(package, f"BatchNorm{dims}d")
    model = nn.Sequential(module(3), module(3, track_running_stats=False))
    update_bn(batches(x, 4), model)
    axes = [0, *range(2, x.dim())]
    want = x.double().var(axes).float()
    assert torch.equal(model[0].running_var, want)
    assert model[1].running_var is None


def test_the_statistics_are_those_of_evaluation() -> None:
    """Each layer is measured behind layers that have their final statistics."""
    model = network()
    update_bn(batches(DATA, 10), model)
    with torch.no_grad():
        model.eval()
        first = model[0](DATA)
        second = model[:5](DATA)
    for layer, x in ((model[1], first), (model[5], second)):
        torch.testing.assert_close(layer.running_mean, x.mean(0), rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(layer.running_var, x.var(0), rtol=1e-12, atol=1e-12)
        assert layer.num_batches_tracked.item() == 6


@pytest.mark.parametrize("size", [1, 7, 60])
def test_nothing_depends_on_batches_and_their_order(size: int) -> None:
    """Beside batches of ten in order, to the rounding of the layers between."""
    one, other = network(), network()
    update_bn(batches(DATA, 10), one)
    order = torch.randperm(60, generator=torch.Generator().manual_seed(2))
    update_bn([(x, None) for x in batches(DATA[order], size)], other)
    for name, value in statistics(one).items():
        torch.testing.assert_close(statistics(other)[name], value, rtol=1e-12, atol=1e-12)


def test_one_layer_has_the_same_bits_for_any_batches() -> None:
    """No layer before it rounds."""
    found = set()
    for size in (1, 5, 32, 224):
        for x in (SORTED, SORTED.flip(0)):
            layer = nn.BatchNorm1d(1)
            update_bn(batches(x, size), layer)
            found.add((layer.running_mean.item(), layer.running_var.item()))
    assert len(found) == 1


def test_within_is_the_pooled_variance_of_batches() -> None:
    """Sums of squares within the batches over their degrees of freedom, by exact arithmetic."""
    sizes = (3, 5, 2)
    parts = SORTED[:10].split(sizes)
    for order in (parts, parts[::-1]):
        layer = nn.BatchNorm1d(1).double()
        update_bn(order, layer.float(), variance="within")
        total = Fraction(0)
        for part in parts:
            values = [Fraction(v) for v in part.flatten().tolist()]
            mean = sum(values) / len(values)
            total += sum((v - mean) ** 2 for v in values)
        assert layer.running_var.item() == np.float32(float(total / (10 - 3)))
        assert layer.running_mean.item() == np.float32(float(SORTED[:10].double().mean()))


def test_within_normalizes_by_the_batch() -> None:
    """The second layer sees what it sees in training: the stock result for equal batches."""
    stock, own = (nn.Sequential(nn.BatchNorm1d(3), nn.ReLU(), nn.BatchNorm1d(3)) for _ in "ab")
    data = batches(DATA.float(), 10)
    swa_utils.update_bn(data, stock)
    update_bn(data, own, variance="within")
    for name, value in stock.state_dict().items():
        torch.testing.assert_close(own.state_dict()[name], value, rtol=1e-5, atol=1e-6)


class Broken(list[torch.Tensor]):
    """A data set that fails in a pass."""

    def __init__(self, data: list[torch.Tensor], good: int) -> None:
        super().__init__(data)
        self.good = good

    def __iter__(self) -> Iterator[torch.Tensor]:
        """Yield two batches in the pass that fails."""
        yield from self[:2]
        self.good -= 1
        if self.good < 0:
            raise KeyError("broken")
        yield from self[2:]


@pytest.mark.parametrize(("variance", "good"), [("total", 0), ("total", 1), ("within", 0)])
@pytest.mark.parametrize("training", [True, False])
def test_everything_is_as_before_after_an_exception(
    variance: Any, good: int, *, training: bool
) -> None:
    """Modes, momentum, statistics and counts; no hook stays."""
    model = network().train(training)
    model[3].eval()
    model(DATA)
    before = copy.deepcopy(model.state_dict())
    modes = [m.training for m in model.modules()]
    with pytest.raises(KeyError, match="broken"):
        update_bn(Broken(batches(DATA, 10), good), model, variance=variance)
    assert [m.training for m in model.modules()] == modes
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert model[1].momentum == 0.1
    assert not any(m._forward_pre_hooks for m in model.modules())


def test_modes_are_as_before_after_it() -> None:
    """Of a model that evaluates too, whose layers all are measured."""
    model = network().eval()
    update_bn(batches(DATA, 10), model)
    assert not any(m.training for m in model.modules())
    trained = network()
    update_bn(batches(DATA, 10), trained)
    assert all(torch.equal(v, trained.state_dict()[k]) for k, v in model.state_dict().items())


def test_a_model_that_keeps_layers_frozen_itself_keeps_them() -> None:
    """Its train() leaves them in evaluation; in evaluation nothing else tells which they are."""

    class Frozen(nn.Sequential):
        def train(self, mode: bool = True) -> nn.Sequential:  # noqa: FBT001, FBT002 - as in torch
            super().train(mode)
            self[0].eval()
            return self

    model = Frozen(nn.BatchNorm1d(1), nn.BatchNorm1d(1)).eval()
    update_bn(batches(SORTED, 32), model)
    assert model[0].running_var.item() == 1.0
    assert model[1].running_var.item() != 1.0


def test_averaged_and_wrapped_models() -> None:
    """What SWA is used with: the model inside counts."""
    averaged = swa_utils.AveragedModel(network().eval())
    update_bn(batches(DATA, 10), averaged)
    plain = network()
    update_bn(batches(DATA, 10), plain)
    for name, value in statistics(plain).items():
        assert torch.equal(averaged.module.state_dict()[name], value)


def test_a_layer_that_is_called_twice_pools_both_calls() -> None:
    """And a layer that is not called keeps its statistics."""

    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm, self.other = nn.BatchNorm1d(1), nn.BatchNorm1d(1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.norm(input=x)
            return self.norm(x + 100.0)  # type: ignore[no-any-return] # a module returns anything

    model = Twice()
    update_bn(batches(SORTED, 32), model)
    both = torch.cat([SORTED, SORTED + 100.0]).double()
    assert model.norm.running_var.item() == pytest.approx(float(both.var()), rel=1e-6)
    assert model.other.running_var.item() == 1.0


def test_passes_end_at_the_layer_that_is_measured() -> None:
    """The first pass goes to the end, to know all layers; each other one ends at its layer."""
    model = network()
    calls: list[int] = []
    for place in (1, 4, 6):
        model[place].register_forward_hook(lambda *_, place=place: calls.append(place))
    update_bn(batches(DATA, 10), model)
    assert [calls.count(place) for place in (1, 4, 6)] == [12, 12, 6]


def test_a_model_without_batch_normalization_is_left_alone() -> None:
    """The data are not read."""
    update_bn(Broken([], 0), nn.Linear(2, 2))


def test_progress_is_shown_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """By the bar that the commands have."""

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    update_bn(batches(DATA, 10), network())
    assert "12 of 12" in terminal.getvalue()


def test_what_is_wrong_is_refused() -> None:
    """Before anything is changed."""
    model = network()
    before = statistics(model)
    with pytest.raises(UnknownNameError, match="variance must be one of"):
        update_bn(batches(DATA, 10), model, variance="batch")  # type: ignore[arg-type]
    with pytest.raises(RangeError, match="at least one batch"):
        update_bn([], model)
    with pytest.raises(RangeError, match="for 2 layers"):
        update_bn(iter(batches(DATA, 10)), model)
    with pytest.raises(RangeError, match="got 1 in 1 for 1"):
        update_bn([DATA[:1]], model)
    with pytest.raises(RangeError, match="got 0 in 0"):
        update_bn([DATA[:0]], nn.BatchNorm1d(3).double())
    assert all(torch.equal(value, before[name]) for name, value in statistics(model).items())


def test_an_iterator_is_enough_for_one_layer_and_for_one_pass() -> None:
    """As for the stock function."""
    layer = nn.BatchNorm1d(3).double()
    update_bn(iter(batches(DATA, 10)), layer)
    assert layer.num_batches_tracked.item() == 6
    update_bn(iter(batches(DATA, 10)), network(), variance="within")

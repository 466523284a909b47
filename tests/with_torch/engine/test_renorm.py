"""Batch renormalization, beside the law of the paper in plain operations of PyTorch."""

from __future__ import annotations

import copy
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

from torch import nn  # noqa: E402
from torch.autograd import grad, gradcheck, gradgradcheck  # noqa: E402

import backnorm.torch as ours  # noqa: E402
from backnorm import reference  # noqa: E402
from backnorm.errors import NotSupportedError, RangeError  # noqa: E402
from backnorm.testing.cases import DTYPES, make  # noqa: E402
from backnorm.torch import BatchRenorm2d, accumulate  # noqa: E402
from kernels.expected import Options, expected  # noqa: E402
from with_torch.engine.tensors import (  # noqa: E402
    MEMORY,
    array,
    assert_like,
    drawn,
    leaves,
    needs_engine,
    placed,
)

pytestmark = needs_engine

SHAPE = (6, 5, 4, 6)

NOW = {"warmup_steps": 0, "rmax_steps": 0, "dmax_steps": 0}
"""Without a warm-up."""

BOUNDS = {
    "nothing is clipped": {"rmax": 100.0, "dmax": 100.0},
    "some is clipped": {"rmax": 1.5, "dmax": 0.5},
    "all is clipped": {"rmax": 1.0, "dmax": 1e-3},
}


def layer_of(dims: int = 2, channels: int = 5, **options: Any) -> Any:
    """Return a layer in float64 with running statistics of its own."""
    layer = getattr(ours, f"BatchRenorm{dims}d")(channels, **NOW | options).double()
    generator = torch.Generator().manual_seed(4)
    with torch.no_grad():
        layer.running_mean.copy_(torch.randn(channels, generator=generator))
        layer.running_var.copy_(torch.rand(channels, generator=generator) + 0.5)
        layer.weight.copy_(torch.rand(channels, generator=generator) + 0.5)
        layer.bias.copy_(torch.randn(channels, generator=generator))
    return layer


def law(x: torch.Tensor, weight: Any, bias: Any, layer: Any, *, rmax: float, dmax: float) -> Any:
    """Return y by algorithm 1 of the paper, with running statistics as they are."""
    axes = [axis for axis in range(x.dim()) if axis != 1]
    spread = (1, -1) + (1,) * (x.dim() - 2)
    mean = x.mean(axes)
    std = (((x - mean.view(spread)) ** 2).mean(axes) + layer.eps).sqrt()
    running = (layer.running_var + layer.eps).sqrt()
    r = (std / running).clamp(1 / rmax, rmax).detach()
    d = ((mean - layer.running_mean) / running).clamp(-dmax, dmax).detach()
    x_hat = (x - mean.view(spread)) / std.view(spread)
    y = x_hat * r.view(spread) + d.view(spread)
    return y * weight.view(spread) + bias.view(spread)


@pytest.mark.parametrize("bounds", BOUNDS)
@pytest.mark.parametrize("memory", MEMORY)
def test_output_and_derivatives_are_those_of_the_paper(bounds: str, memory: str) -> None:
    """First and second derivatives by all of x, weight and bias; r and d are constants."""
    shape, format_ = MEMORY[memory]
    options = BOUNDS[bounds]
    given = drawn(shape)
    found = []
    for own in (True, False):
        layer = layer_of(max(1, len(shape) - 2), shape[1], **options)
        x = given.x.contiguous(memory_format=format_).detach().requires_grad_()
        weight, bias = layer.weight, layer.bias
        # Before the call, which moves the running statistics.
        y = law(x, weight, bias, copy.deepcopy(layer), **options) if not own else layer(x)
        first = grad(y, (x, weight, bias), given.dy, create_graph=True)
        loss = (first[0] * given.residual).sum() + (first[1] ** 2).sum()
        found.append((y, *first, *grad(loss, (x, weight))))
    for got, want in zip(*found, strict=True):
        assert_like(got, want)


@pytest.mark.parametrize("memory", MEMORY)
def test_where_all_is_clipped_differences_agree(memory: str) -> None:
    """Then r and d are constants to differences too."""
    shape, _ = MEMORY[memory]
    given = drawn(shape)
    layer = layer_of(max(1, len(shape) - 2), shape[1], rmax=1.0, dmax=1e-3)
    layer.track_running_stats = False  # it corrects, and its running statistics stay
    with torch.no_grad():
        layer.running_mean.add_(100.0)

    def call(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> Any:
        own = {"weight": weight, "bias": bias}
        return torch.func.functional_call(layer, own, (x,))

    tensors = leaves(given.x, given.weight, given.bias)
    assert gradcheck(call, tensors)
    assert gradgradcheck(call, tensors)


@pytest.mark.parametrize("dtype", DTYPES)
def test_rounding_keeps_the_budget(dtype: str) -> None:
    """Beside the reference, with r = 1 and d = 0, where the law is batch normalization."""
    batch = make(SHAPE, dtype)
    given = placed(batch)
    layer = BatchRenorm2d(5, rmax=1.0, dmax=0.0, dtype=given.weight.dtype)
    with torch.no_grad():
        layer.weight.copy_(given.weight)
        layer.bias.copy_(given.bias)
    (x,) = leaves(given.x)
    y = layer(x)
    y.backward(given.dy)
    gradients = {"dgamma": array(layer.weight.grad), "dbeta": array(layer.bias.grad)}
    judge = expected(batch, Options(), oracle=reference).judge
    judge(y=array(y), dx=array(x.grad), **gradients)


def test_training_normalizes_as_evaluation_does_where_nothing_is_clipped() -> None:
    """By the running statistics of before the batch."""
    layer = layer_of(rmax=100.0, dmax=100.0)
    x = drawn(SHAPE).x
    want = copy.deepcopy(layer).eval()(x)
    assert_like(layer(x), want)


@pytest.mark.parametrize("offset", [1e3, 1e5])
def test_it_is_as_accurate_far_from_zero(offset: float) -> None:
    """In float32, beside the law in float64 on the same numbers."""
    x = drawn(SHAPE, "float32").x + offset
    layer = BatchRenorm2d(5, **NOW)
    layer.running_mean.fill_(offset)
    want = law(
        x.double(), layer.weight, layer.bias, copy.deepcopy(layer).double(), rmax=3.0, dmax=5.0
    )
    assert_like(layer(x), want.float())


@pytest.mark.parametrize("momentum", [0.1, None])
def test_the_warm_up_is_batch_normalization(momentum: float | None) -> None:
    """To the last bit in y; running statistics are those of BatchNorm all the time."""
    stock = ours.BatchNorm2d(5, momentum=momentum)
    layer = BatchRenorm2d(5, momentum=momentum, warmup_steps=2, rmax_steps=2, dmax_steps=2)
    for step in range(4):
        x = drawn(SHAPE, "float32", seed=step).x + step
        assert torch.equal(layer(x), stock(x)) is (step < 2)
        for name, value in stock.state_dict().items():
            assert_like(layer.state_dict()[name].double(), value.double())


@pytest.mark.parametrize(
    ("counted", "rmax", "dmax"),
    [
        (0, 1.0, 0.0),
        (5_000, 1.0, 0.0),
        (15_000, 1 + 2 * 10 / 35, 2.5),
        (25_000, 1 + 2 * 20 / 35, 5.0),
        (40_000, 3.0, 5.0),
        (10**9, 3.0, 5.0),
    ],
)
def test_the_warm_up_ends(counted: int, rmax: float, dmax: float) -> None:
    """The bounds of the paper, section 4: linear, and then they stay. A checkpoint goes on."""
    source = ours.BatchNorm2d(5).double()
    source.num_batches_tracked.fill_(counted)
    layer = BatchRenorm2d(5).double()
    layer.load_state_dict(source.state_dict(), strict=True)
    layer.running_mean.fill_(-100.0)  # all of d is clipped
    layer.running_var.fill_(1e-4)  # and all of r
    x = drawn(SHAPE).x
    want = law(x, layer.weight, layer.bias, copy.deepcopy(layer), rmax=rmax, dmax=dmax)
    assert_like(layer(x), want)
    assert layer.num_batches_tracked.item() == counted + 1


@pytest.mark.parametrize(("dims", "shape"), [(1, (6, 3)), (2, (6, 3, 4, 5)), (3, (6, 3, 2, 2, 5))])
def test_checkpoints_of_batch_normalization_load(dims: int, shape: tuple[int, ...]) -> None:
    """Strictly, in both directions; evaluation is bitwise that of BatchNorm."""
    stock = getattr(ours, f"BatchNorm{dims}d")(3)
    layer = getattr(ours, f"BatchRenorm{dims}d")(3)
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    stock(x)
    assert layer.load_state_dict(stock.state_dict(), strict=True)
    assert stock.load_state_dict(layer.state_dict(), strict=True)
    assert torch.equal(layer.eval()(x), stock.eval()(x))


def test_without_parameters_r_and_d_are_all() -> None:
    """Also with a weight and no bias."""
    x = drawn(SHAPE).x
    layer = layer_of(rmax=1.5, dmax=0.5)
    plain = BatchRenorm2d(5, affine=False, rmax=1.5, dmax=0.5, **NOW).double()
    plain.load_state_dict(
        {k: v for k, v in layer.state_dict().items() if "running" in k}, strict=False
    )
    layer.bias = None
    zero = torch.zeros(5, dtype=x.dtype)
    want = law(x, zero + 1, zero, copy.deepcopy(plain), rmax=1.5, dmax=0.5)
    assert_like(plain(x), want)
    assert_like(layer(x), want * layer.weight.view(1, -1, 1, 1))


def test_it_is_compiled_exported_and_traced_as_a_layer() -> None:
    """One graph, with the bounds of the step; PyTorch's kernels where the engine is not."""
    x = drawn(SHAPE, "float32").x
    layer = layer_of(rmax=1.5, dmax=0.5).float()
    want = copy.deepcopy(layer)(x)
    compiled = torch.compile(copy.deepcopy(layer), backend="aot_eager", fullgraph=True)
    assert_like(compiled(x), want)
    assert_like(torch.export.export(copy.deepcopy(layer), (x,)).module()(x), want)
    traced = torch.fx.symbolic_trace(nn.Sequential(layer))
    assert [node.op for node in traced.graph.nodes] == ["placeholder", "call_module", "output"]
    assert "rmax=1.5, dmax=0.5, warmup_steps=0" in repr(layer)
    with pytest.raises(NotSupportedError, match="cannot compile BatchRenorm2d"):
        layer.__prepare_scriptable__()


def test_micro_batches_are_corrected_too() -> None:
    """`accumulate` holds the running statistics back, and nothing else."""
    one, other = layer_of(), layer_of()
    x = drawn(SHAPE).x
    with accumulate(one, 2):
        first = one(x)
        assert torch.equal(first, copy.deepcopy(other)(x))
        assert torch.equal(one.running_mean, other.running_mean)
        assert torch.equal(one(x), first)
    other(x)
    assert_like(one.running_mean, other.running_mean)


def test_an_empty_batch_is_that_of_batch_normalization() -> None:
    """Whatever BatchNorm does with its running statistics."""
    stock, layer = ours.BatchNorm2d(5), BatchRenorm2d(5, **NOW)
    empty = torch.zeros(0, 5, 2, 2)
    assert layer(empty).shape == stock(empty).shape
    assert str(layer.running_mean) == str(stock.running_mean)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rmax": 0.9}, "rmax must be a finite number, 1 or greater"),
        ({"rmax": "3"}, "rmax must be a finite number, 1 or greater"),
        ({"dmax": float("inf")}, "dmax must be a finite number, 0 or greater"),
        ({"warmup_steps": -1}, "warmup_steps must be a whole number, 0 or greater"),
        ({"rmax_steps": 4_999}, "rmax_steps must be a whole number, 5000 or greater"),
        ({"dmax_steps": 1e5}, "dmax_steps must be a whole number, 5000 or greater"),
        ({"track_running_stats": False}, "track_running_stats must be True"),
    ],
)
def test_what_is_wrong_is_refused(options: dict[str, Any], message: str) -> None:
    """When the layer is built."""
    with pytest.raises(RangeError, match=message):
        BatchRenorm2d(5, **options)


def test_wrong_input_has_pytorchs_errors() -> None:
    """And is not counted."""
    layer = BatchRenorm2d(5)
    with pytest.raises(ValueError, match="expected 4D input"):
        layer(torch.zeros(2, 5))
    with pytest.raises(ValueError, match="Expected more than 1 value per channel"):
        layer(torch.zeros(1, 5, 1, 1))
    assert layer.num_batches_tracked.item() == 0

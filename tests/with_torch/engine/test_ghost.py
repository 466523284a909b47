"""Ghost batch normalization, beside the reference for each group and exact arithmetic."""

from __future__ import annotations

import copy
import pickle
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

from torch import nn  # noqa: E402
from torch.autograd import gradcheck, gradgradcheck  # noqa: E402

import backnorm.torch as ours  # noqa: E402
from backnorm import reference  # noqa: E402
from backnorm.errors import NotSupportedError, RangeError, UnknownNameError  # noqa: E402
from backnorm.testing.cases import DTYPES, make  # noqa: E402
from backnorm.torch import GhostBatchNorm1d, GhostBatchNorm2d  # noqa: E402
from backnorm.torch.engine import grouped  # noqa: E402
from backnorm.torch.engine.ghost import group_sizes  # noqa: E402
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

SHAPE = (7, 5, 4, 6)
GROUPS = (slice(0, 3), slice(3, 7))
"""Of three samples: the seventh joins the second group."""


@pytest.mark.parametrize(
    ("n", "size", "sizes"),
    [
        (8, 4, [4, 4]),
        (10, 4, [4, 4, 2]),
        (9, 4, [4, 5]),
        (4, 4, [4]),
        (5, 4, [5]),
        (3, 4, [3]),
        (1, 4, [1]),
        (0, 4, [0]),
        (3, 1, [1, 1, 1]),
    ],
)
def test_a_last_group_of_one_joins_its_neighbour(n: int, size: int, sizes: list[int]) -> None:
    """Otherwise the rest is a group."""
    assert group_sizes(n, size) == sizes


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("layout", ["contiguous", "channels last"])
def test_each_group_is_normalized_as_a_batch(dtype: str, layout: str) -> None:
    """Output and gradient, beside the reference for that group."""
    batch = make(SHAPE, dtype)
    given = placed(batch, layout)
    layer = GhostBatchNorm2d(5, virtual_batch_size=3, dtype=given.weight.dtype)
    with torch.no_grad():
        layer.weight.copy_(given.weight)
        layer.bias.copy_(given.bias)
    (x,) = leaves(given.x)
    y = layer(x)
    y.backward(given.dy)
    for rows in GROUPS:
        part = replace(batch, x=batch.x[rows], dy=batch.dy[rows], residual=batch.residual[rows])
        judge = expected(part, Options(), oracle=reference).judge
        judge(y=array(y[rows]), dx=array(x.grad[rows]))


@pytest.mark.parametrize("memory", MEMORY)
@pytest.mark.parametrize("size", [2, 50])
def test_the_derivatives_are_those_of_the_function(memory: str, size: int) -> None:
    """First and second ones by differences."""
    shape, format_ = MEMORY[memory]
    given = drawn((4, *shape[1:]))
    dims = max(1, len(shape) - 2)
    layer = getattr(ours, f"GhostBatchNorm{dims}d")(3, virtual_batch_size=size).double()
    x = given.x.contiguous(memory_format=format_).detach().requires_grad_()
    parameters = leaves(given.weight, given.bias)

    def call(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> Any:
        own = {"weight": weight, "bias": bias}
        return torch.func.functional_call(layer, own, (x,))

    assert gradcheck(call, (x, *parameters))
    assert gradgradcheck(call, (x, *parameters))


@pytest.mark.parametrize(
    "layout", ["contiguous", "channels last", "every other channel", "transposed"]
)
@pytest.mark.parametrize("wanted", ["x", "parameters", "all"])
def test_one_node_computes_what_separate_calls_do(
    layout: str, wanted: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To the last bit in y, dx and running statistics, for every layout and kind of gradient."""
    given = drawn(SHAPE, "float32", layout)
    found = []
    for plain in (True, False):
        if not plain:
            monkeypatch.setattr(grouped, "_is_plain", lambda *_: False)
        layer = GhostBatchNorm2d(5, virtual_batch_size=3)
        layer.requires_grad_(wanted != "x")
        x = given.x.detach().requires_grad_(wanted != "parameters")
        y = layer(x)
        for dy in (given.dy, torch.ones(()).expand(SHAPE)):
            y.backward(dy, retain_graph=True)
        found.append((y, x.grad, layer.weight.grad, layer.bias.grad, layer.state_dict()))
    (y, dx, dweight, dbias, state), (y2, dx2, dweight2, dbias2, state2) = found
    assert torch.equal(y, y2)
    assert all(torch.equal(value, state2[name]) for name, value in state.items())
    assert (dx is None) is (wanted == "parameters")
    assert dx is None or torch.equal(dx, dx2)
    assert (dweight is None) is (wanted == "x")
    if dweight is not None:
        assert_like(dweight, dweight2)
        assert_like(dbias, dbias2)


def test_the_output_may_be_overwritten() -> None:
    """As PyTorch's may; the input may not, as anywhere."""
    layer = GhostBatchNorm2d(5, virtual_batch_size=3)
    given = drawn(SHAPE, "float32")
    first, second = leaves(given.x, given.x)
    layer(first).relu_().backward(given.dy)
    layer(second).relu().backward(given.dy)
    assert torch.equal(first.grad, second.grad)
    x = given.x.clone()
    y = layer(x)
    x.add_(1.0)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()


def exact_running(x: torch.Tensor, groups: tuple[slice, ...]) -> dict[str, list[Fraction]]:
    """Return the mean and both variances of each channel, as fractions."""
    found: dict[str, list[Fraction]] = {"mean": [], "total": [], "within": []}
    for channel in x.transpose(0, 1).flatten(2).double().tolist():
        parts = [[Fraction(v) for row in channel[rows] for v in row] for rows in groups]
        values = [v for part in parts for v in part]
        mean = sum(values) / len(values)
        found["mean"].append(mean)
        found["total"].append(sum((v - mean) ** 2 for v in values) / (len(values) - 1))
        own = [sum(part) / len(part) for part in parts]
        squares = sum((v - m) ** 2 for part, m in zip(parts, own, strict=True) for v in part)
        found["within"].append(squares / (len(values) - len(groups)))
    return found


@pytest.mark.parametrize("variance", ["total", "within"])
@pytest.mark.parametrize("offset", [0.0, 1e5])
def test_running_statistics_are_the_exact_ones(variance: Any, offset: float) -> None:
    """In float32: within one unit in the last place of the result that is rounded once."""
    x = drawn(SHAPE, "float32").x + torch.arange(7.0)[:, None, None, None] + offset
    layer = GhostBatchNorm2d(5, virtual_batch_size=3, momentum=1.0, variance=variance)
    layer(x)
    wanted = exact_running(x, GROUPS)
    for got, name in ((layer.running_mean, "mean"), (layer.running_var, variance)):
        want = np.array([float(value) for value in wanted[name]], np.float32)
        assert (abs(array(got) - want) <= np.spacing(want)).all()


@pytest.mark.parametrize("variance", ["total", "within"])
def test_the_order_of_groups_does_not_count(variance: Any) -> None:
    """A batch moves the running statistics once; the usual code moves them for each group."""
    x = drawn((12, 5, 2, 2), "float64", seed=1).x
    x[6:] += 3.0
    found = []
    for order in ([0, 1, 2, 3], [3, 1, 0, 2]):
        layer = GhostBatchNorm2d(5, virtual_batch_size=3, variance=variance).double()
        layer(torch.cat([x.split(3)[k] for k in order]))
        assert layer.num_batches_tracked.item() == 1
        found.append(layer.state_dict())
    usual = nn.BatchNorm2d(5).double()
    for part in x.split(3):
        usual(part)
    assert all(torch.equal(value, found[1][name]) for name, value in found[0].items())
    assert (usual.running_mean - found[0]["running_mean"]).abs().min() > 0.1


@pytest.mark.parametrize("momentum", [0.3, None])
def test_total_statistics_are_those_of_batch_normalization(momentum: float | None) -> None:
    """Over several batches, to rounding; with one group to the last bit, y too."""
    stock = ours.BatchNorm2d(5, momentum=momentum)
    ghost = GhostBatchNorm2d(5, momentum=momentum, virtual_batch_size=3)
    whole = GhostBatchNorm2d(5, momentum=momentum, virtual_batch_size=7)
    for seed in range(3):
        x = drawn(SHAPE, "float32", seed=seed).x
        assert torch.equal(whole(x), stock(x))
        ghost(x)
    for name, value in stock.state_dict().items():
        assert torch.equal(whole.state_dict()[name], value)
        assert_like(ghost.state_dict()[name].double(), value.double())


@pytest.mark.parametrize(("dims", "shape"), [(1, (6, 3)), (2, (6, 3, 4, 5)), (3, (6, 3, 2, 2, 5))])
def test_checkpoints_of_batch_normalization_load(dims: int, shape: tuple[int, ...]) -> None:
    """Strictly, in both directions; evaluation is bitwise that of BatchNorm."""
    stock = getattr(ours, f"BatchNorm{dims}d")(3)
    ghost = getattr(ours, f"GhostBatchNorm{dims}d")(3, virtual_batch_size=2)
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    stock(x)
    assert ghost.load_state_dict(stock.state_dict(), strict=True)
    assert stock.load_state_dict(ghost.state_dict(), strict=True)
    assert torch.equal(ghost.eval()(x), stock.eval()(x))


def test_it_lies_and_is_copied_as_a_layer_of_torch() -> None:
    """Memory format, copies, a compiled graph, and the graph of torch.fx."""
    layer = GhostBatchNorm2d(5, virtual_batch_size=3)
    x = drawn(SHAPE, "float32").x.contiguous(memory_format=torch.channels_last)
    y = layer(x)
    assert y.is_contiguous(memory_format=torch.channels_last)
    for same in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):  # noqa: S301 - our own
        assert torch.equal(same(x), y)
    compiled = torch.compile(copy.deepcopy(layer), backend="aot_eager", fullgraph=True)
    assert_like(compiled(x), y)
    traced = torch.fx.symbolic_trace(nn.Sequential(layer))
    assert [node.op for node in traced.graph.nodes] == ["placeholder", "call_module", "output"]
    assert "virtual_batch_size=3, variance=total" in repr(layer)
    with pytest.raises(NotSupportedError, match="cannot compile GhostBatchNorm2d"):
        layer.__prepare_scriptable__()


def test_pytorchs_kernels_compute_what_the_engine_does_not() -> None:
    """On another device, and in an exported program, which runs without the engine."""
    layer = GhostBatchNorm2d(5, virtual_batch_size=3)
    x = drawn(SHAPE, "float32").x
    want = layer(x)
    running = layer.running_var.clone()
    layer.reset_running_stats()
    with torch.device("meta"):
        meta = GhostBatchNorm2d(5, virtual_batch_size=3)(torch.empty(SHAPE))
    assert (meta.shape, meta.dtype) == (want.shape, want.dtype)
    program = torch.export.export(layer, (x,)).module()
    assert_like(program(x), want)
    assert_like(dict(program.named_buffers())["running_var"], running)


def test_statistics_are_optional() -> None:
    """Without running statistics groups normalize in training, and the batch in evaluation."""
    layer = GhostBatchNorm2d(5, virtual_batch_size=3, track_running_stats=False, affine=False)
    x = drawn(SHAPE, "float32").x
    plain = ours.BatchNorm2d(5, track_running_stats=False, affine=False)
    assert torch.equal(layer(x), torch.cat([plain(x[rows]) for rows in GROUPS]))
    assert torch.equal(layer.eval()(x), plain(x))


def test_what_is_wrong_is_refused() -> None:
    """The constructor by our messages, the input by PyTorch's."""
    for size in (0, 2.5, None):
        with pytest.raises(RangeError, match="virtual_batch_size must be a whole number"):
            GhostBatchNorm2d(5, virtual_batch_size=size)
    with pytest.raises(UnknownNameError, match="variance must be one of"):
        GhostBatchNorm2d(5, variance="batch")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="expected 4D input"):
        GhostBatchNorm2d(5)(torch.zeros(2, 5))
    layer = GhostBatchNorm1d(5, virtual_batch_size=1)
    with pytest.raises(ValueError, match="Expected more than 1 value per channel"):
        layer(torch.zeros(3, 5))
    assert layer.num_batches_tracked.item() == 0

"""A mask of the PyTorch function and modules: the bits of what counts, gathered; 0 elsewhere."""

from __future__ import annotations

import copy
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

from torch.autograd import gradcheck, gradgradcheck  # noqa: E402

from backnorm import torch as bt  # noqa: E402
from backnorm.errors import DtypeError, ShapeError  # noqa: E402
from backnorm.kernels.activations import NAMES  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated")

HIDDEN = (float("nan"), float("inf"), 1e38)
C = 3

by_dtype = pytest.mark.parametrize(
    "dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64], ids=str
)
by_format = pytest.mark.parametrize("form", [torch.contiguous_format, torch.channels_last], ids=str)


def batch(dtype: torch.dtype, form: torch.memory_format, value: float = 0.0) -> Any:
    """Seeded x, residual, dy with a value where nothing counts, and the mask."""
    rng = torch.Generator().manual_seed(5)
    mask = torch.rand((4, 5, 6), generator=rng) < 2 / 3
    mask[1] = False
    given = [torch.randn((4, C, 5, 6), generator=rng, dtype=torch.float64) + 2 for _ in "123"]
    hidden = [t.masked_fill(~mask[:, None], value).to(dtype) for t in given]
    return *(t.to(memory_format=form) for t in hidden), mask


def count(values: Any, mask: Any) -> Any:
    """The values that count, (count, C), by an index: another way than the engine's."""
    return values.permute(0, 2, 3, 1)[mask]


def layer_of(cls: Any, dtype: torch.dtype, **options: Any) -> Any:
    """A layer with parameters unlike 1 and 0."""
    layer = cls(C, **options).to(dtype)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([1.5, -0.5, 2.0]))
        layer.bias.copy_(torch.tensor([0.5, 0.0, -1.0]))
    return layer


def step(layer: Any, x: Any, residual: Any, dy: Any, **options: Any) -> dict[str, Any]:
    """Every result of one step of training, by name."""
    leaves = [x.clone().requires_grad_(), residual.clone().requires_grad_()]
    y = layer(*leaves, **options)
    y.backward(dy)
    found = {"y": y.detach(), "dx": leaves[0].grad, "dresidual": leaves[1].grad}
    state = {name: value.clone() for name, value in layer.state_dict().items()}
    return {**found, "dweight": layer.weight.grad, "dbias": layer.bias.grad, **state}


def same(got: Any, want: Any) -> bool:
    """Whether two tensors are bitwise identical."""
    got, want = (t.contiguous().view(torch.uint8) for t in (got.reshape(-1), want.reshape(-1)))
    return bool(got.equal(want))


@by_dtype
@by_format
@pytest.mark.parametrize("sums", ["float64", "exact"])
@pytest.mark.parametrize("training", [True, False], ids=["training", "eval"])
@pytest.mark.parametrize("activation", NAMES)
def test_bits_are_those_of_the_gathered_values(
    dtype: Any, form: Any, sums: Any, training: Any, activation: Any
) -> None:
    """y, all gradients and the running statistics; NaN, inf and 1e38 under the mask are unseen."""
    options = {"activation": activation, "sums": sums}
    twin = layer_of(bt.BatchNormAct1d, dtype, **options).train(training)
    x, residual, dy, mask = batch(dtype, form)
    want = step(twin, *(count(t, mask) for t in (x, residual, dy)))
    for value in HIDDEN:
        layer = layer_of(bt.BatchNormAct2d, dtype, **options).train(training)
        x, residual, dy, mask = batch(dtype, form, value)
        got = step(layer, x, residual, dy, mask=mask)
        assert got.keys() == want.keys()
        for name, full in got.items():
            if full.shape == x.shape:
                assert not full.permute(0, 2, 3, 1)[~mask].any(), name
            assert same(count(full, mask) if full.shape == x.shape else full, want[name]), name
        assert got["y"].is_contiguous(memory_format=form)


@pytest.mark.parametrize("cls", [bt.BatchNorm1d, bt.BatchNormAct1d])
def test_modules_take_a_residual_and_a_mask(cls: Any) -> None:
    """All layers, by place and by name; without a mask as before."""
    layer = layer_of(cls, torch.float64)
    x, residual = torch.randn(2, 4, C, 6, dtype=torch.float64).unbind()
    mask = torch.rand(4, 6) < 0.5
    twins = [copy.deepcopy(layer) for _ in "123"]
    by_place, by_name = twins[0](x, residual, mask), twins[1](x, mask=mask, residual=residual)
    assert same(by_place, by_name)
    full = twins[2](x, residual, torch.ones_like(mask))
    assert (full - layer(x, residual)).abs().max() < 1e-12


def function(mask: Any, **options: Any) -> Any:
    """batch_norm of x, weight, bias and residual with a mask."""

    def call(x: Any, weight: Any, bias: Any, residual: Any) -> Any:
        given = {"training": True, "eps": 1e-2, "residual": residual, **options}
        return bt.batch_norm(x, None, None, weight, bias, mask=mask, **given)

    return call


@pytest.mark.parametrize("activation", ["identity", "leaky_relu"])
def test_first_and_second_derivatives(activation: Any) -> None:
    """By finite differences of x, weight, bias and residual, and forward mode."""
    torch.manual_seed(0)
    mask = torch.tensor([[True, True, False, True], [True, False, False, True]])
    x, residual = torch.randn(2, 2, C, 4, dtype=torch.float64).unbind()
    leaves = [x, *torch.rand(2, C, dtype=torch.float64).add(0.5).unbind(), residual]
    leaves = [t.clone().requires_grad_() for t in leaves]
    call = function(mask, activation=activation)
    assert gradcheck(call, leaves, check_forward_ad=True)
    assert gradgradcheck(call, leaves)


def test_inplace_has_separate_memory() -> None:
    """With a mask y does not take the memory of x."""
    x, _, _, mask = batch(torch.float32, torch.contiguous_format)
    before = x.clone()
    layer = layer_of(bt.BatchNormAct2d, torch.float32, activation="leaky_relu", inplace=True)
    y = layer(x, mask=mask)
    assert same(x, before)
    assert y.data_ptr() != x.data_ptr()


def test_nothing_counts() -> None:
    """As an empty batch: zeros, and running statistics as an empty batch leaves them."""
    layer, twin = (layer_of(bt.BatchNorm2d, torch.float32) for _ in "12")
    x = torch.full((2, C, 2, 2), float("nan"), requires_grad=True)
    y = layer(x, mask=torch.zeros(2, 2, 2, dtype=torch.bool))
    twin(torch.zeros(0, C, 2, 2))
    y.sum().backward()
    assert not y.any()
    assert not x.grad.any()
    for name, value in twin.state_dict().items():
        assert same(layer.state_dict()[name], value), name


def test_transforms_and_graphs() -> None:
    """torch.func.grad, torch.fx and torch.compile give the bits of the plain call."""
    x, _, _, mask = batch(torch.float32, torch.contiguous_format)

    def loss(x: Any) -> Any:
        return bt.batch_norm(x, None, None, training=True, mask=mask).pow(3).sum()

    leaf = x.clone().requires_grad_()
    (want,) = torch.autograd.grad(loss(leaf), leaf)
    assert same(torch.func.grad(loss)(x), want)

    class Model(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm = bt.BatchNormAct2d(C)

        def forward(self, x: Any, mask: Any) -> Any:
            return bt.batch_norm(self.norm(x, mask=mask), None, None, training=True, mask=mask)

    model = Model()
    traced = torch.fx.symbolic_trace(copy.deepcopy(model))
    want = model(x, mask)
    assert same(traced(x, mask), want)
    compiled = torch.compile(model, backend="aot_eager", fullgraph=True)
    assert same(compiled(x, mask), want)


def test_refusals() -> None:
    """Not a tensor, another dtype, another shape."""
    x = torch.randn(2, C, 4)
    layer = bt.BatchNorm1d(C)
    with pytest.raises(DtypeError, match="mask must be a"):
        layer(x, mask=[[True] * 4] * 2)
    with pytest.raises(DtypeError, match=r"for weights, got torch\.int64"):
        layer(x, mask=torch.ones(2, 4, dtype=torch.int64))
    with pytest.raises(ShapeError, match=r"mask must have shape \(2, 4\), that of x without"):
        layer(x, mask=torch.ones(2, C, 4, dtype=torch.bool))

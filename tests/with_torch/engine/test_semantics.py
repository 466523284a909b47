"""What a call means, beside torch.nn.functional.batch_norm and the exact results."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

from torch import nn  # noqa: E402

import backnorm.torch as ours  # noqa: E402
from backnorm import reference  # noqa: E402
from backnorm.errors import DtypeError, RangeError, ShapeError, UnknownNameError  # noqa: E402
from backnorm.testing.budget import assert_bits  # noqa: E402
from backnorm.testing.cases import ACTIVATIONS, DTYPES, MODES, THROUGHS, make  # noqa: E402
from backnorm.torch import batch_norm  # noqa: E402
from backnorm.torch.engine import formula, operator, stock  # noqa: E402
from backnorm.torch.engine.kernels import CallOptions  # noqa: E402
from kernels.expected import Options, expected  # noqa: E402
from with_torch.engine.tensors import (  # noqa: E402
    VIEWS,
    array,
    assert_like,
    drawn,
    leaves,
    needs_engine,
    placed,
)

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = needs_engine

SHAPE = (3, 5, 4, 6)
SLOPE = 0.125


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("layout", VIEWS)
def test_results_keep_the_budget(dtype: str, mode: str, activation: str, layout: str) -> None:
    """Output and gradients, with a residual, in every format and layout, beside exact results."""
    batch = make(SHAPE, dtype)
    given = placed(batch, layout)
    x, weight, bias, residual = leaves(given.x, given.weight, given.bias, given.residual)
    frozen = given.frozen(mode)
    # The exact results have statistics in float64; in evaluation ours are rounded to the format.
    running = (frozen.pop("running_mean", None), frozen.pop("running_var", None))
    y = batch_norm(
        x,
        *running,
        weight,
        bias,
        activation=activation,
        negative_slope=SLOPE,
        residual=residual,
        **frozen,
    )
    y.backward(given.dy)
    if mode == "frozen":
        arrays = [array(value).astype(np.float64) for value in running]
        batch = type(batch)(batch.x, batch.dy, batch.residual, batch.gamma, batch.beta, *arrays)
    options = Options(mode, activation, residual=True)
    # The reference is exact enough for narrower formats, and quicker.
    oracle: dict[str, Any] = {} if dtype == "float64" else {"oracle": reference}
    expected(batch, options, **oracle).judge(
        y=array(y),
        dx=array(x.grad),
        dgamma=array(weight.grad),
        dbeta=array(bias.grad),
        dresidual=array(residual.grad),
    )


@pytest.mark.parametrize("through", THROUGHS)
def test_a_cut_gradient_is_the_one_asked_for(through: Any) -> None:
    """As backnorm.batch_norm_backward has it."""
    batch = make(SHAPE, "float32")
    given = placed(batch)
    x, weight, bias = leaves(given.x, given.weight, given.bias)
    batch_norm(x, None, None, weight, bias, training=True, through=through).backward(given.dy)
    expected(batch, Options(through=through)).judge(dx=array(x.grad), dgamma=array(weight.grad))


@pytest.mark.parametrize("shape", [(4, 3), (4, 3, 5), (4, 3, 5, 6), (2, 3, 2, 5, 6)])
@pytest.mark.parametrize("layout", VIEWS)
def test_the_output_lies_as_the_stock_output_does(shape: Any, layout: str) -> None:
    """In training and evaluation, for every kind of strides, so does dx."""
    given = drawn(shape, "float32", layout)
    for mode in MODES:
        frozen = given.frozen(mode)
        running = (frozen.pop("running_mean", None), frozen.pop("running_var", None))
        found = []
        for function in (batch_norm, nn.functional.batch_norm):
            (x,) = leaves(given.x)
            found.append((x, function(x, *running, given.weight, given.bias, **frozen)))
        (x, got), (_, want) = found
        formats = [torch.contiguous_format]
        formats += {4: [torch.channels_last], 5: [torch.channels_last_3d]}.get(len(shape), [])
        for format_ in formats:
            if given.x.is_contiguous(memory_format=format_):
                assert want.is_contiguous(memory_format=format_)
                assert got.is_contiguous(memory_format=format_)
        (dx,) = torch.autograd.grad(got.sum(), x)
        assert dx.stride() == got.stride()


@pytest.mark.parametrize("momentum", [0.1, None, 0.0, 1.0])
def test_running_statistics_are_the_stock_ones(momentum: float | None) -> None:
    """After several steps equal to rounding; the count too."""
    mine, stock = (cls(3, momentum=momentum).double() for cls in (ours.BatchNorm2d, nn.BatchNorm2d))
    for seed in range(4):
        x = drawn((4, 3, 5, 6), seed=seed).x
        mine(x)
        stock(x)
    assert_like(mine.running_mean, stock.running_mean)
    assert_like(mine.running_var, stock.running_var)
    assert torch.equal(mine.num_batches_tracked, stock.num_batches_tracked)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("momentum", [0.1, 0.3, 1.0])
def test_running_statistics_have_the_same_bits_by_the_operator(dtype: str, momentum: float) -> None:
    """Whether PyTorch just runs a call or looks at it."""
    given = drawn((4, 3, 5, 6), dtype)
    found = []
    for transform in (lambda f: f, lambda f: torch.func.vjp(f, given.x)[0]):
        running = (given.running_mean.clone(), given.running_var.clone())

        def call(x: Any, running: Any = running) -> torch.Tensor:
            return batch_norm(
                x, *running, given.weight, given.bias, training=True, momentum=momentum
            )

        result = transform(call)
        y = result(given.x) if callable(result) else result
        found.append((y, *running))
    for got, want in zip(*found, strict=True):
        assert_bits(array(got), array(want))


@pytest.mark.parametrize("expand", ["dy of one value", "dy of strides"])
@pytest.mark.parametrize("layout", ["contiguous", "channels last"])
def test_any_dy(expand: str, layout: str) -> None:
    """A sum's gradient, expanded from one value, and one with strides of its own."""
    given = drawn((4, 3, 5, 6), layout=layout)
    dy = torch.ones(()).double().expand(given.x.shape)
    if expand == "dy of strides":
        dy = torch.stack([given.dy, given.dy], -1)[..., 0]
    found = []
    for arriving in (dy, dy.contiguous()):
        tensors = leaves(given.x, given.weight, given.bias)
        y = batch_norm(tensors[0], None, None, *tensors[1:], training=True, activation="relu")
        found.append(torch.autograd.grad(y, tensors, arriving))
    for got, want in zip(*found, strict=True):
        assert_like(got, want)


@pytest.mark.parametrize("activation", ["relu", "relu6", "leaky_relu"])
def test_the_gradient_at_nan_is_the_stock_one(activation: str) -> None:
    """With frozen statistics, where NaN stays in its value: relu lets dy through there."""
    x = drawn_with_nan()
    stock = torch.nn.functional.batch_norm(x, torch.zeros(3), torch.ones(3), training=False)
    getattr(torch.nn.functional, activation)(stock).sum().backward()
    want, x.grad = x.grad, None
    y = batch_norm(x, torch.zeros(3), torch.ones(3), training=False, activation=activation)
    y.sum().backward()
    torch.testing.assert_close(x.grad, want)


def drawn_with_nan() -> torch.Tensor:
    """Return a leaf with a NaN in it."""
    x = torch.linspace(-3, 3, 4 * 3 * 2 * 2).reshape(4, 3, 2, 2)
    x[1, 1, 0, 1] = float("nan")
    return x.requires_grad_()


def test_frozen_weights_and_inputs() -> None:
    """What requires no gradient gets none, and nothing else changes."""
    given = drawn((4, 3, 5), "float32")
    x, weight, bias = leaves(given.x, given.weight, given.bias)
    y = batch_norm(x, None, None, weight, bias, training=True)
    all_three = torch.autograd.grad(y, [x, weight, bias], given.dy)
    for index, wanted in enumerate((x, weight, bias)):
        tensors = [t if t is wanted else t.detach() for t in (x, weight, bias)]
        y = batch_norm(tensors[0], None, None, *tensors[1:], training=True)
        (alone,) = torch.autograd.grad(y, [wanted], given.dy)
        assert_bits(array(alone), array(all_three[index]))
    assert not batch_norm(
        given.x, None, None, given.weight, given.bias, training=True
    ).requires_grad


def test_wrong_extras_say_so() -> None:
    """Activation, slope, residual, through and inplace are checked before anything is written."""
    given = drawn((4, 3, 5))
    with pytest.raises(UnknownNameError, match="activation"):
        given.run(activation="gelu")
    with pytest.raises(UnknownNameError, match="through"):
        given.run(through="all")
    with pytest.raises(RangeError, match="negative_slope"):
        given.run(activation="leaky_relu", negative_slope=-1.0)
    with pytest.raises(ShapeError, match="residual"):
        given.run(residual=given.residual[:, :, :1])
    with pytest.raises(DtypeError, match="residual"):
        given.run(residual=given.residual.float())
    with pytest.raises(RangeError, match="inplace"):
        given.run(inplace=True, activation="relu")
    with pytest.raises(RangeError, match="inplace"):
        ours.BatchNormAct2d(3, activation="relu6", inplace=True)


def test_no_way_takes_an_unknown_activation_for_another() -> None:
    """The kernels, PyTorch's own operations and the derivatives raise."""
    given = drawn((4, 3, 5))
    options = CallOptions(True, 0.1, 1e-5, "gelu", 0.1, "both", "float64")  # type: ignore[arg-type] # noqa: FBT003
    nothing = (None,) * 5
    ways: dict[str, Callable[[], object]] = {
        "kernels": lambda: operator.batch_norm(given.x, *nothing, options),
        "stock": lambda: stock.batch_norm(given.x, *nothing, options),
        "formula": lambda: formula.grad_through_activation(given.x, given.x, options),
    }
    for way in ways.values():
        with pytest.raises(UnknownNameError, match=r"^activation must be one of 'identity', "):
            way()

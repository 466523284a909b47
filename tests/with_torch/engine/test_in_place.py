"""y in the memory of x: the same gradients, and safe where it cannot be had."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

from backnorm.errors import SmallWeightWarning  # noqa: E402
from backnorm.kernels.activations import INVERTIBLE  # noqa: E402
from backnorm.testing.budget import EPS  # noqa: E402
from backnorm.testing.cases import MODES, make  # noqa: E402
from backnorm.torch.engine import functional  # noqa: E402
from kernels.expected import Options, expected  # noqa: E402
from with_torch.engine.tensors import array, drawn, leaves, needs_engine, placed  # noqa: E402

if TYPE_CHECKING:
    from with_torch.engine.tensors import Tensors

pytestmark = needs_engine

SHAPE = (4, 3, 5, 6)
SLOPE = 0.125


def call(x: torch.Tensor, given: Tensors, mode: str = "batch", **keywords: Any) -> torch.Tensor:
    """Normalize in place."""
    frozen = given.frozen(mode)
    running = (frozen.pop("running_mean", None), frozen.pop("running_var", None))
    keywords = {"weight": given.weight, "bias": given.bias, "negative_slope": SLOPE, **keywords}
    return functional.batch_norm(x, *running, inplace=True, **keywords, **frozen)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("activation", INVERTIBLE)
@pytest.mark.parametrize("layout", ["contiguous", "channels last"])
def test_the_same_output_and_gradients(mode: str, activation: str, layout: str) -> None:
    """Within the budget of the way that keeps x; y lies where x lay, and its version moves."""
    batch = make(SHAPE, "float64", offset=0.0)
    given = placed(batch, layout)
    x, weight, bias = leaves(given.x.clone(), given.weight, given.bias)
    z = x * 1.0
    version = z._version
    y = call(z, given, mode, weight=weight, bias=bias, activation=activation)
    assert y.data_ptr() == z.data_ptr()
    assert z._version > version
    before = array(y).copy()
    y.backward(given.dy)
    want_x, want_weight, want_bias = leaves(given.x, given.weight, given.bias)
    frozen = given.frozen(mode)
    running = (frozen.pop("running_mean", None), frozen.pop("running_var", None))
    want = functional.batch_norm(
        want_x,
        *running,
        want_weight,
        want_bias,
        activation=activation,
        negative_slope=SLOPE,
        **frozen,
    )
    want.backward(given.dy)
    torch.testing.assert_close(torch.from_numpy(before), want.detach(), rtol=0.0, atol=0.0)
    torch.testing.assert_close(x.grad, want_x.grad)
    torch.testing.assert_close(weight.grad, want_weight.grad)
    torch.testing.assert_close(bias.grad, want_bias.grad)


def test_float32_keeps_the_budget_of_its_output() -> None:
    """y itself is as near to exact as without inplace."""
    batch = make(SHAPE, "float32")
    given = placed(batch)
    y = call(given.x.clone(), given, activation="leaky_relu")
    expected(batch, Options(activation="leaky_relu")).judge(y=array(y))


def test_small_weights_are_said_once() -> None:
    """x is kept instead, the gradient is right, and the warning names the caller's line, once."""
    functional._warn_of_small_weights.cache_clear()
    given = drawn(SHAPE)
    weight = given.weight * 1e-20
    x = given.x.clone()
    with pytest.warns(SmallWeightWarning, match="inplace is ignored in this call"):
        y = call(x, given, weight=weight)
    assert y.data_ptr() != x.data_ptr()
    assert torch.equal(x, given.x)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        call(x, given, weight=weight)


LEAST = {"float16": 2.0**-16, "bfloat16": 2.0**-128, "float32": 2.0**-128, "float64": 0.0}
"""The output of x_hat = 1 that is stored with as many digits as a shift of 4 weights leaves it."""


@pytest.mark.filterwarnings("ignore::backnorm.errors.SmallWeightWarning")
@pytest.mark.parametrize("size", [1.0, 2.0**-16, 2.0**-17, 2.0**-50, 2.0**-128, 2.0**-129])
@pytest.mark.parametrize("dtype", LEAST)
def test_outputs_near_0_keep_the_digits_of_x(dtype: str, size: float) -> None:
    """Where a slope makes outputs as small as the smallest numbers of a dtype, x is kept."""
    given = drawn((16, 4, 9), dtype, offset=0.0)
    options: Any = {"activation": "leaky_relu", "negative_slope": size}
    weight = torch.ones_like(given.weight).requires_grad_()
    z = leaves(given.x)[0] * 1.0
    address = z.data_ptr()
    y = call(z, given, weight=weight, bias=None, **options)
    assert (y.data_ptr() == address) == (size >= LEAST[dtype])
    (dweight,) = torch.autograd.grad(y, weight, given.dy)
    exact = weight.detach().double().requires_grad_()
    want = functional.batch_norm(given.x.double(), None, None, exact, training=True, **options)
    (want_dweight,) = torch.autograd.grad(want, exact, given.dy.double())
    terms = given.dy.double().abs().sum((0, 2))
    assert ((dweight - want_dweight).abs() <= 4 * EPS[dtype] * terms).all()


@pytest.mark.filterwarnings("ignore::backnorm.errors.SmallWeightWarning")
@pytest.mark.parametrize("size", [2.0**-16, 2.0**-17, 2.0**-60, 2.0**-61])
@pytest.mark.parametrize("dtype", LEAST)
def test_weights_near_0_keep_the_digits_of_x(dtype: str, size: float) -> None:
    """The same of weights, whose square must be a normal float32 too."""
    given = drawn((16, 4, 9), dtype, offset=0.0)
    weight = torch.full_like(given.weight, size)
    x = given.x.clone()
    y = call(x, given, weight=weight, bias=None)
    least = max(LEAST[dtype], 2.0**-60)
    assert (y.data_ptr() == x.data_ptr()) == (size >= least)


def test_a_leaf_is_refused_as_everywhere() -> None:
    """In the words of PyTorch."""
    given = drawn(SHAPE)
    (x,) = leaves(given.x)
    with pytest.raises(RuntimeError, match="a leaf Variable that requires grad"):
        call(x, given)
    with torch.no_grad():
        assert call(x, given).data_ptr() == x.data_ptr()


def test_whoever_needed_x_is_told() -> None:
    """An operation that kept x finds its version changed."""
    given = drawn(SHAPE)
    (x,) = leaves(given.x)
    z = x * 1.0
    square = z.square()
    y = call(z, given)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        (square.sum() + y.sum()).backward()


@pytest.mark.parametrize("kind", ["expanded", "overlapping"])
def test_values_that_share_memory_are_not_written_to(kind: str) -> None:
    """y gets memory of its own, and x keeps its values."""
    given = drawn(SHAPE)
    if kind == "expanded":
        x = given.x[:1].clone().expand(SHAPE)
    else:
        x = torch.arange(60.0, dtype=torch.float64).as_strided(SHAPE, (6, 9, 3, 1))
    before = x.clone()
    y = call(x, given)
    assert torch.equal(x, before)
    want = functional.batch_norm(before, None, None, given.weight, given.bias, training=True)
    torch.testing.assert_close(y, want)


def test_a_view_inside_a_larger_tensor_leaves_the_rest_alone() -> None:
    """Only what belongs to x is written to."""
    given = drawn(SHAPE)
    around = torch.full((4, 7, 5, 6), 7.0, dtype=torch.float64)
    around[:, 2:5] = given.x
    y = call(around[:, 2:5], given)
    torch.testing.assert_close(y, given.run())
    assert (around[:, :2] == 7.0).all()
    assert (around[:, 5:] == 7.0).all()

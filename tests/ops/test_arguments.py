"""What the functions take, and that they leave it as it was."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import ml_dtypes
import numpy as np
import pytest

import backnorm as bn
from backnorm import reference
from backnorm.errors import UnknownNameError
from backnorm.testing.budget import assert_bits, assert_within_budget
from backnorm.testing.cases import DTYPES, KERNELS, LAYOUTS, Batch, make
from oracles.activations import DERIVATIVES, OUTPUTS, SLOPE, Z

if TYPE_CHECKING:
    from collections.abc import Callable

    from backnorm._types import AnyArray

by_kernel = pytest.mark.parametrize("kernel", KERNELS)
by_layout = pytest.mark.parametrize("layout", LAYOUTS)

SHAPE = (4, 3, 5, 6)


def arrays_of(batch: Batch) -> list[AnyArray]:
    """Every array of the batch."""
    return list(vars(batch).values())


def run_all(batch: Batch, kernel: str = "auto", **frozen: Any) -> list[AnyArray]:
    """Call every public function with every argument it has."""
    fwd = bn.batch_norm(
        batch.x,
        batch.gamma,
        batch.beta,
        activation="leaky_relu",
        residual=batch.residual,
        kernel=kernel,
        **frozen,
    )
    g = bn.batch_norm_backward(batch.dy, fwd, kernel=kernel)
    steps = {"gamma_tangent": batch.beta, "beta_tangent": batch.gamma}
    tangent = bn.batch_norm_jvp(
        batch.dy, fwd, **steps, residual_tangent=batch.residual, kernel=kernel
    )
    second = bn.batch_norm_double_backward(
        batch.x,
        batch.dy,
        fwd,
        ddgamma=batch.beta,
        ddbeta=batch.gamma,
        ddresidual=batch.residual,
        kernel=kernel,
    )
    found = [fwd.y, g.dx, g.dgamma, g.dbeta, g.dresidual]
    return [*found, tangent, second.x, second.dy, second.gamma]


@by_kernel
@by_layout
@pytest.mark.parametrize("mode", ["batch", "frozen"])
def test_no_argument_is_written_to(kernel: str, layout: str, mode: str) -> None:
    """All arguments have the bits they had, read-only ones are accepted, results are new."""
    batch = make(SHAPE).laid_out(layout)
    before = [array.copy() for array in arrays_of(batch)]
    for array in arrays_of(batch):
        array.flags.writeable = False
    results = run_all(batch, kernel, **batch.frozen(mode))
    for array, old in zip(arrays_of(batch), before, strict=True):
        assert_bits(array, old)
        assert not any(np.may_share_memory(array, result) for result in results)


@by_layout
def test_results_lie_in_memory_like_x(layout: str) -> None:
    """y, dx and the others have the order of x's axes, as numpy.empty_like gives it."""
    batch = make(SHAPE).laid_out(layout)
    fwd = bn.batch_norm(batch.x, residual=batch.residual)
    g = bn.batch_norm_backward(batch.dy, fwd)
    second = bn.batch_norm_double_backward(batch.dy, batch.dy, fwd)
    tangent = bn.batch_norm_jvp(batch.dy, fwd)
    want = np.empty_like(batch.x).strides
    for result in (fwd.y, g.dx, g.dresidual, tangent, second.x, second.dy):
        assert result.strides == want


@by_kernel
def test_arrays_may_lie_differently(kernel: str) -> None:
    """x, dy, residual and the buffers each in another layout."""
    batch = make(SHAPE)
    want = run_all(batch, kernel)
    names = list(LAYOUTS)
    for at, name in enumerate(names):
        x = LAYOUTS[name](batch.x)
        dy = LAYOUTS[names[at - 3]](batch.dy)
        residual = LAYOUTS[names[at - 5]](batch.residual)
        mixed = Batch(x, dy, residual, *arrays_of(batch)[3:])
        for got, expected in zip(run_all(mixed, kernel), want, strict=True):
            axis = min(1, got.ndim - 1)
            assert_within_budget(got, expected.astype("f8"), channel_axis=axis)


BROADCAST = {
    "one value": (1, 1, 1, 1),
    "one a channel": (1, 3, 1, 1),
    "one an image": (4, 1, 1, 1),
    "one a place": (1, 1, 5, 6),
    "one a column": (1, 3, 1, 6),
}


@by_kernel
@pytest.mark.parametrize("shape", BROADCAST)
def test_dy_may_be_a_broadcast_view(kernel: str, shape: str) -> None:
    """With strides of 0, as the gradient of a sum has."""
    batch = make(SHAPE)
    few = np.random.default_rng(3).standard_normal(BROADCAST[shape]).astype("f4")
    dy = np.broadcast_to(few, SHAPE)
    fwd = bn.batch_norm(batch.x, batch.gamma, batch.beta, kernel=kernel)
    got = bn.batch_norm_backward(dy, fwd, kernel=kernel)
    want = bn.batch_norm_backward(dy.copy(), fwd, kernel=kernel)
    d = np.abs(batch.gamma * fwd.inv_std) * np.abs(few).max()  # what dx is the difference of
    assert_within_budget(got.dx, want.dx.astype("f8"), channel_axis=1, scale=d)
    assert_within_budget(got.dgamma, want.dgamma.astype("f8"), scale=np.abs(dy).sum())


@by_kernel
@pytest.mark.parametrize("axis", [0, 1, 2, 3])
def test_x_may_be_a_broadcast_view(kernel: str, axis: int) -> None:
    """Also along the channels; the output has memory of its own for each value."""
    one = make(SHAPE).x.take([0], axis=axis)
    x = np.broadcast_to(one, SHAPE)
    got = bn.batch_norm(x, kernel=kernel)
    assert got.y.flags.writeable
    assert_within_budget(got.y, reference.forward(x).y, channel_axis=1)


class Tagged(np.ndarray):
    """A subclass with ways of its own, which must not matter."""

    def __array_finalize__(self, source: object) -> None:
        """Do nothing."""

    def __mul__(self, other: object) -> Any:
        """Refuse."""
        raise AssertionError


def test_a_subclass_is_taken_as_a_plain_array() -> None:
    """The result is a plain array with the same bits."""
    batch = make(SHAPE)
    tagged = Batch(*(array.view(Tagged) for array in arrays_of(batch)))
    for got, want in zip(run_all(tagged), run_all(batch), strict=True):
        assert type(got) is np.ndarray
        assert_bits(got, want)


def test_parameters_may_be_lists() -> None:
    """gamma, beta and the running statistics are taken through numpy.asarray."""
    x = make((6, 2), "float64").x
    lists: dict[str, Any] = {"gamma": [2.0, 3.0], "beta": [0.5, 0.25]}
    running = {"running_mean": [1.0, 2.0], "running_var": [0.5, 4.0]}
    arrays = {name: np.array(value) for name, value in (lists | running).items()}
    assert_bits(bn.batch_norm(x, **lists, **running).y, bn.batch_norm(x, **arrays).y)


WIDER = [
    ("float16", "float32"),
    ("float16", "float64"),
    ("bfloat16", "float32"),
    ("bfloat16", "float64"),
    ("float32", "float64"),
]


@by_kernel
@pytest.mark.parametrize(("narrow", "wide"), WIDER)
def test_parameters_may_be_wider_than_x(kernel: str, narrow: str, wide: str) -> None:
    """y and dx have the format of x, dgamma and dbeta each that of its parameter."""
    batch = make(SHAPE, narrow)
    gamma, beta = batch.gamma.astype(wide), batch.beta
    fwd = bn.batch_norm(batch.x, gamma, beta, kernel=kernel)
    g = bn.batch_norm_backward(batch.dy, fwd, kernel=kernel)
    same = bn.batch_norm(batch.x, batch.gamma, beta, kernel=kernel)
    assert_bits(fwd.y, same.y)
    assert (g.dx.dtype, g.dgamma.dtype, g.dbeta.dtype) == (batch.x.dtype, wide, batch.x.dtype)
    exact = reference.backward(batch.dy.astype("f8"), batch.x.astype("f8"), gamma.astype("f8"))
    assert_within_budget(g.dgamma, exact.dgamma, scale=np.abs(batch.dy.astype("f8")).sum())


@by_kernel
@pytest.mark.parametrize("dtype", DTYPES)
def test_no_gamma_is_one_and_no_beta_is_zero(kernel: str, dtype: str) -> None:
    """The same bits as with ones and zeros, and no gradient for what is not there."""
    batch = make(SHAPE, dtype)
    ones, zeros = np.ones(3, batch.x.dtype), np.zeros(3, batch.x.dtype)
    results = {}
    for gamma, beta in ((None, None), (ones, None), (None, zeros), (ones, zeros)):
        fwd = bn.batch_norm(batch.x, gamma, beta, kernel=kernel)
        g = bn.batch_norm_backward(batch.dy, fwd, kernel=kernel)
        results[gamma is None, beta is None] = (fwd.y, g.dx)
        assert (g.dgamma is None, g.dbeta is None) == (gamma is None, beta is None)
    for y, dx in results.values():
        assert_bits(y, results[False, False][0])
        assert_bits(dx, results[False, False][1])


def test_statistics_are_float64_and_biased() -> None:
    """For any format of x: shape (C,), divided by n."""
    x = np.array([[1, 2], [3, 6]], ml_dtypes.bfloat16)
    fwd = bn.batch_norm(x, eps=0.0)
    assert fwd.mean.tolist() == [2.0, 4.0]
    assert fwd.var.tolist() == [1.0, 4.0]
    assert fwd.inv_std.tolist() == [1.0, 0.5]
    assert {fwd.mean.dtype, fwd.var.dtype, fwd.inv_std.dtype} == {np.dtype("f8")}
    assert fwd.n == 2


@pytest.mark.parametrize("eps", [0.0, 1e-12, 1e-5, 1e-3, 1.0, 100.0])
@by_kernel
def test_eps_is_added_to_the_variance(kernel: str, eps: float) -> None:
    """inv_std = 1/sqrt(var + eps), in batch mode and with frozen statistics."""
    batch = make(SHAPE, "float64")
    for frozen in ({}, batch.frozen("frozen")):
        fwd = bn.batch_norm(batch.x, eps=eps, kernel=kernel, **frozen)
        assert_within_budget(fwd.inv_std, 1 / np.sqrt(fwd.var.astype(np.longdouble) + eps))


@pytest.mark.parametrize("slope", [0.01, 0.3, 1.0, 2.5])
@by_kernel
def test_leaky_relu_takes_its_slope(kernel: str, slope: float) -> None:
    """Below 0 y and the gradient are multiplied by it."""
    batch = make(SHAPE, "float64")
    options: dict[str, Any] = {"activation": "leaky_relu", "negative_slope": slope}
    fwd = bn.batch_norm(batch.x, batch.gamma, batch.beta, kernel=kernel, **options)
    g = bn.batch_norm_backward(batch.dy, fwd, kernel=kernel)
    plain = reference.forward(batch.x, batch.gamma, batch.beta).y
    assert_within_budget(fwd.y, np.where(plain < 0, slope * plain, plain), channel_axis=1)
    dz = np.where(plain > 0, batch.dy, slope * batch.dy)
    want = reference.backward(dz, batch.x, batch.gamma)
    assert_within_budget(g.dx, want.dx, channel_axis=1)


@by_kernel
@pytest.mark.parametrize("activation", DERIVATIVES)
def test_at_a_kink_the_outer_branch_counts(kernel: str, activation: str) -> None:
    """At 0 the derivative is the one below, at relu6's 6 the one above."""
    x = np.array(Z)[:, None]
    frozen: Any = {"running_mean": [0.0], "running_var": [1.0], "eps": 0.0}
    options: Any = {"activation": activation, "negative_slope": SLOPE, "kernel": kernel}
    fwd = bn.batch_norm(x, **frozen, **options)
    g = bn.batch_norm_backward(np.ones_like(x), fwd, kernel=kernel)
    assert fwd.y.ravel().tolist() == OUTPUTS[activation]
    assert g.dx.ravel().tolist() == DERIVATIVES[activation]


@pytest.mark.parametrize(
    "function", [bn.batch_norm, bn.batch_norm_backward, bn.batch_norm_jvp], ids=lambda f: f.__name__
)
def test_the_kernel_asked_for_is_used(function: Callable[..., Any]) -> None:
    """An unknown one is refused by each function, so none ignores the argument."""
    fwd = bn.batch_norm(make(SHAPE).x)
    second = () if function is bn.batch_norm else (fwd,)
    with pytest.raises(UnknownNameError, match=r"^kernel must be one of 'auto'"):
        function(fwd.y, *second, kernel="none")

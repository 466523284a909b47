"""Forward mode and the second derivative, against the reference and against the backward pass."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import backnorm as bn
from backnorm import reference
from backnorm.testing.budget import assert_within_budget
from backnorm.testing.cases import (
    ACTIVATIONS,
    DTYPES,
    KERNELS,
    LAYOUTS,
    MODES,
    THROUGHS,
    Batch,
    make,
)

if TYPE_CHECKING:
    from backnorm._types import AnyArray

SHAPE = (4, 3, 5, 6)
SLOPE = 0.125

by_kernel = pytest.mark.parametrize("kernel", KERNELS)
by_layout = pytest.mark.parametrize("layout", LAYOUTS)
by_dtype = pytest.mark.parametrize("dtype", DTYPES)
by_mode = pytest.mark.parametrize("mode", MODES)


@dataclass(frozen=True, eq=False)
class Problem:
    """A batch, and something of the shape of each of its parts: directions or weights."""

    batch: Batch
    x: AnyArray
    residual: AnyArray
    gamma: AnyArray
    beta: AnyArray

    def laid_out(self, layout: str) -> Problem:
        """The same with every array of the shape of x in one layout."""
        place = LAYOUTS[layout]
        placed = place(self.x), place(self.residual)
        return Problem(self.batch.laid_out(layout), *placed, self.gamma, self.beta)


@cache
def problem(dtype: str) -> Problem:
    """The problem in one format."""
    other = make(SHAPE, dtype, seed=1)
    return Problem(make(SHAPE, dtype), other.dy, other.residual, other.beta, other.gamma)


def forward(batch: Batch, mode: str, activation: Any, kernel: str = "auto") -> bn.Forward:
    """Run the forward pass, with a residual."""
    return bn.batch_norm(
        batch.x,
        batch.gamma,
        batch.beta,
        activation=activation,
        negative_slope=SLOPE,
        residual=batch.residual,
        kernel=kernel,
        **batch.frozen(mode),
    )


def widened(problem: Problem) -> tuple[Problem, Batch]:
    """The same values in float64, for the reference."""
    batch = Batch(*(array.astype("f8") for array in vars(problem.batch).values()))
    rest = (problem.x, problem.residual, problem.gamma, problem.beta)
    return Problem(batch, *(array.astype("f8") for array in rest)), batch


def open_branches(fwd: bn.Forward) -> AnyArray:
    """The activation's derivative, which is a constant at higher order."""
    return reference.activation_gradient(fwd.y, fwd.saved.activation, SLOPE)


def largest(*arrays: AnyArray) -> AnyArray:
    """The largest value of each channel, of the product of the largest of each array."""
    axes = (0, 2, 3)
    return np.prod([np.abs(a).max(axis=axes) if a.ndim > 1 else np.abs(a) for a in arrays], axis=0)


@by_layout
@by_dtype
@by_mode
def test_tangent_is_that_of_the_reference(layout: str, dtype: str, mode: str) -> None:
    """In every activation, through any choice of statistics."""
    given, (wide, batch) = problem(dtype), widened(problem(dtype))
    placed = given.laid_out(layout)
    for activation, through in product(ACTIVATIONS, THROUGHS):
        fwd = forward(placed.batch, mode, activation)
        got = bn.batch_norm_jvp(
            placed.x,
            fwd,
            gamma_tangent=given.gamma,
            beta_tangent=given.beta,
            residual_tangent=placed.residual,
            through=through,
        )
        steps = {"gamma_tangent": wide.gamma, "beta_tangent": wide.beta}
        frozen = batch.frozen(mode)
        options: Any = {"through": through} | steps | frozen
        want = reference.jvp(wide.x, batch.x, batch.gamma, **options) + wide.residual
        size = largest(wide.x, batch.gamma * fwd.inv_std)
        assert_within_budget(got, want * open_branches(fwd), channel_axis=1, scale=size)


@by_layout
@by_dtype
@by_mode
def test_second_derivative_is_that_of_the_reference(layout: str, dtype: str, mode: str) -> None:
    """With respect to x, dy and gamma, in every activation."""
    given, (wide, batch) = problem(dtype), widened(problem(dtype))
    placed = given.laid_out(layout)
    for activation in ACTIVATIONS:
        fwd = forward(placed.batch, mode, activation)
        got = bn.batch_norm_double_backward(
            placed.x,
            placed.batch.dy,
            fwd,
            ddgamma=given.gamma,
            ddbeta=given.beta,
            ddresidual=placed.residual,
        )
        a = open_branches(fwd)
        weights = {"ddgamma": wide.gamma, "ddbeta": wide.beta}
        options: Any = weights | batch.frozen(mode)
        want = reference.double_backward(wide.x, a * batch.dy, batch.x, batch.gamma, **options)
        for_x = largest(wide.x, batch.dy, batch.gamma * fwd.inv_std**2)
        for_x += largest(batch.dy, wide.gamma * fwd.inv_std)
        for_dy = largest(wide.x, batch.gamma * fwd.inv_std)
        for_gamma = 120 * largest(wide.x, batch.dy, fwd.inv_std)
        want_dy = a * (want.dy + wide.residual)
        assert_within_budget(got.x, want.x, channel_axis=1, scale=for_x)
        assert_within_budget(got.dy, want_dy, channel_axis=1, scale=for_dy)
        assert_within_budget(got.gamma, want.gamma, scale=for_gamma)


@by_kernel
@by_mode
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("through", THROUGHS)
def test_tangent_is_the_adjoint_of_the_gradient(
    kernel: str, mode: str, activation: str, through: Any
) -> None:
    """sum(dy*tangent) = sum(dx*x') + sum(dgamma*gamma') + sum(dbeta*beta') + sum(dresidual*...)."""
    given = problem("float64")
    fwd = forward(given.batch, mode, activation, kernel)
    tangent = bn.batch_norm_jvp(
        given.x,
        fwd,
        gamma_tangent=given.gamma,
        beta_tangent=given.beta,
        residual_tangent=given.residual,
        through=through,
        kernel=kernel,
    )
    g = bn.batch_norm_backward(given.batch.dy, fwd, through=through, kernel=kernel)
    products = [
        g.dx * given.x,
        g.dgamma * given.gamma,
        g.dbeta * given.beta,
        g.dresidual * given.residual,
    ]
    left = np.sum(given.batch.dy * tangent)
    right = sum(np.sum(values) for values in products)
    size = sum(np.abs(values).sum() for values in products)
    assert_within_budget(left[None], right[None], scale=size)


@by_kernel
@by_mode
def test_second_derivative_is_the_adjoint_of_the_tangent_of_the_gradient(
    kernel: str, mode: str
) -> None:
    """By dy the gradient is linear: the weights times a gradient are dy times the result."""
    given = problem("float64")
    fwd = forward(given.batch, mode, "leaky_relu", kernel)
    dy = given.batch.dy
    g = bn.batch_norm_backward(dy, fwd, kernel=kernel)
    weights: Any = {"ddgamma": given.gamma, "ddbeta": given.beta, "ddresidual": given.residual}
    second = bn.batch_norm_double_backward(given.x, dy, fwd, kernel=kernel, **weights)
    products = [
        given.x * g.dx,
        given.gamma * g.dgamma,
        given.beta * g.dbeta,
        given.residual * g.dresidual,
    ]
    left = np.sum(dy * second.dy)
    right = sum(np.sum(values) for values in products)
    size = sum(np.abs(values).sum() for values in products)
    assert_within_budget(left[None], right[None], scale=size)


def test_what_is_left_out_is_zero() -> None:
    """A direction or weight of None is one of zeros."""
    given = problem("float64")
    fwd = forward(given.batch, "batch", "identity")
    zero, none = np.zeros_like(given.x), np.zeros(3)
    steps: Any = {"gamma_tangent": none, "beta_tangent": none, "residual_tangent": zero}
    one, other = bn.batch_norm_jvp(given.x, fwd), bn.batch_norm_jvp(given.x, fwd, **steps)
    assert_within_budget(one, other, channel_axis=1)
    weights: Any = {"ddgamma": none, "ddbeta": none, "ddresidual": zero}
    short = bn.batch_norm_double_backward(None, given.batch.dy, fwd)
    whole = bn.batch_norm_double_backward(zero, given.batch.dy, fwd, **weights)
    for got, want in ((short.x, whole.x), (short.dy, whole.dy), (short.gamma, whole.gamma)):
        assert not got.any()
        assert not want.any()


def test_without_gamma_there_is_no_gradient_for_it() -> None:
    """second.gamma is None; x and dy are those of gamma = 1."""
    given = problem("float64")
    one = bn.batch_norm(given.batch.x)
    other = bn.batch_norm(given.batch.x, np.ones(3))
    got, want = (
        bn.batch_norm_double_backward(given.x, given.batch.dy, fwd) for fwd in (one, other)
    )
    assert got.gamma is None
    assert_within_budget(got.x, want.x, channel_axis=1)
    assert_within_budget(got.dy, want.dy, channel_axis=1)


@by_dtype
@pytest.mark.parametrize("offset", [0.0, 1e2, 1e4, 1e6])
def test_tangent_keeps_the_budget_far_from_zero(dtype: str, offset: float) -> None:
    """Forward mode uses the whole mean, with its low part."""
    if dtype in {"float16", "bfloat16"} and offset > 1:
        offset = 2.0  # their own step is larger than the deviations farther out
    batch = make((40, 3, 5), dtype, offset=offset)
    fwd = bn.batch_norm(batch.x, batch.gamma)
    x, t = batch.x.astype("f8"), batch.dy.astype("f8")
    gamma = batch.gamma.astype("f8")
    centred = x - np.float64(round(offset))  # exact, and far from nothing any more
    want = reference.jvp(t, centred, gamma)
    size = np.abs(gamma * fwd.inv_std) * np.abs(t).max()
    assert_within_budget(
        bn.batch_norm_jvp(batch.dy, fwd), want, rounded=want, channel_axis=1, scale=size
    )


@by_kernel
def test_many_channels_are_done_a_few_at_a_time(kernel: str) -> None:
    """More values than one tile holds."""
    batch = make((40, 50, 60), "float32")
    fwd = bn.batch_norm(batch.x, kernel=kernel)
    want = reference.jvp(batch.dy, batch.x)
    size = largest(batch.dy[..., None].astype("f8"), fwd.inv_std)
    got = bn.batch_norm_jvp(batch.dy, fwd, kernel=kernel)
    assert_within_budget(got, want, channel_axis=1, scale=size)

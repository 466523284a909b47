"""Far from zero: what docs/numerics.md promises, up to a mean of a million standard deviations."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

import backnorm as bn
from backnorm.testing.budget import assert_within_budget
from backnorm.testing.cases import KERNELS, OFFSETS, Batch, make, plain_backward, plain_forward
from kernels.expected import expected, statistics
from oracles import extended

SHAPE = (8, 6, 17, 17)
ORDERS = ("contiguous", "channels last")

by_kernel = pytest.mark.parametrize("kernel", KERNELS)
by_offset = pytest.mark.parametrize("offset", OFFSETS)
by_order = pytest.mark.parametrize("order", ORDERS)


@cache
def answers(offset: float) -> tuple[Batch, extended.Forward, extended.Gradients]:
    """A float32 batch, and its exact results."""
    batch = make(SHAPE, offset=offset)
    exact = extended.forward(batch.x, batch.gamma, batch.beta)
    return batch, exact, extended.backward(batch.dy, batch.x, batch.gamma)


@by_kernel
@by_order
@by_offset
def test_y_keeps_the_budget_far_from_zero(kernel: str, order: str, offset: float) -> None:
    """Two units beyond one rounding, with no allowance for the offset; plain NumPy is beaten."""
    batch, exact, _ = answers(offset)
    x = batch.laid_out(order).x
    fwd = bn.batch_norm(x, batch.gamma, batch.beta, kernel=kernel)
    plain = plain_forward(batch.x, batch.gamma, batch.beta)
    assert_within_budget(fwd.y, exact.y, plain=plain, channel_axis=1)


@by_kernel
@by_order
@by_offset
def test_gradients_keep_the_budget_far_from_zero(kernel: str, order: str, offset: float) -> None:
    """dx, dgamma and dbeta, each relative to its own largest value and nothing else."""
    batch, _, exact = answers(offset)
    placed = batch.laid_out(order)
    fwd = bn.batch_norm(placed.x, batch.gamma, batch.beta, kernel=kernel)
    g = bn.batch_norm_backward(placed.dy, fwd, kernel=kernel)
    assert g.dx is not None
    dx, dgamma, dbeta = plain_backward(batch.dy, batch.x, batch.gamma)
    assert_within_budget(g.dx, exact.dx, plain=dx, channel_axis=1)
    assert_within_budget(np.asarray(g.dgamma), exact.dgamma, plain=dgamma)
    assert_within_budget(np.asarray(g.dbeta), exact.dbeta, plain=dbeta)


@by_kernel
@by_order
@by_offset
def test_float64_keeps_the_budget_far_from_zero(kernel: str, order: str, offset: float) -> None:
    """No worse than plain float64 NumPy, whose own digits are fewer the farther it goes."""
    batch = make((4, 3, 9, 7), "float64", offset=offset)
    placed = batch.laid_out(order)
    fwd = bn.batch_norm(placed.x, batch.gamma, batch.beta, kernel=kernel)
    g = bn.batch_norm_backward(placed.dy, fwd, kernel=kernel)
    expected(batch).judge(y=fwd.y, dx=g.dx, dgamma=g.dgamma, dbeta=g.dbeta)


@by_kernel
@by_order
@by_offset
def test_statistics_keep_their_digits_far_from_zero(kernel: str, order: str, offset: float) -> None:
    """The variance is good to a few units of float64 of its own, not of the square of the mean."""
    batch, _, _ = answers(offset)
    fwd = bn.batch_norm(batch.laid_out(order).x, kernel=kernel)
    statistics(batch).judge(mean=fwd.mean, var=fwd.var, inv_std=fwd.inv_std)


@by_kernel
@by_order
def test_values_that_drift_keep_the_budget(kernel: str, order: str) -> None:
    """The first values, from which the shift is taken, may be far from all others."""
    batch = make(SHAPE)
    batch.x[0] += 1e4
    batch.x[:, :, 0] -= 1e5
    exact = extended.forward(batch.x, batch.gamma, batch.beta)
    fwd = bn.batch_norm(batch.laid_out(order).x, batch.gamma, batch.beta, kernel=kernel)
    assert_within_budget(fwd.y, exact.y, channel_axis=1)


@by_kernel
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_wide_parameters_are_not_narrowed(kernel: str, dtype: str) -> None:
    """float32 gamma and beta are used as they are, and their gradients are as good as float32."""
    batch = make((9, 4, 6), dtype)
    gamma, beta = (np.array([1 / 3, 1.7, -2.1, 0.9], "f4") + at for at in (0, 1))
    fwd = bn.batch_norm(batch.x, gamma, beta, kernel=kernel)
    g = bn.batch_norm_backward(batch.dy, fwd, kernel=kernel)
    x, dy = batch.x.astype("f8"), batch.dy.astype("f8")
    exact = extended.backward(dy, x, gamma)
    assert_within_budget(fwd.y, extended.forward(x, gamma, beta).y, channel_axis=1)
    assert_within_budget(np.asarray(g.dgamma), exact.dgamma)
    assert_within_budget(np.asarray(g.dbeta), exact.dbeta)


@by_kernel
@by_order
@pytest.mark.parametrize("side", [1, 7, 14])
def test_a_first_sample_unlike_the_others_costs_no_digits(
    kernel: str, order: str, side: int
) -> None:
    """The sums are taken around the mean of the first values, or again where that is far off."""
    batch = make((32, 5, side, side))
    x = batch.x.copy()
    x[0] += np.float32(50)
    batch = replace(batch, x=x)
    fwd = bn.batch_norm(batch.laid_out(order).x, kernel=kernel)
    statistics(batch).judge(mean=fwd.mean, var=fwd.var, inv_std=fwd.inv_std)

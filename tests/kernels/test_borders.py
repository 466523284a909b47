"""Shapes around the numbers at which the native kernel takes another way."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

import backnorm as bn
from backnorm import reference
from backnorm.testing.budget import assert_within_budget
from backnorm.testing.cases import BORDERS, KERNELS, SHAPES, Batch, make
from kernels.expected import Expected, Options, expected

OPTIONS = {
    "plain": Options(),
    "all at once": Options(activation="leaky_relu", residual=True),
    "frozen": Options("frozen", "relu6", residual=True),
}

ORDERS = ("contiguous", "channels last", "every other channel")

by_kernel = pytest.mark.parametrize("kernel", KERNELS)
by_border = pytest.mark.parametrize("shape", BORDERS)
by_options = pytest.mark.parametrize("chosen", OPTIONS)


@cache
def answers(shape: str, chosen: str) -> tuple[Batch, Expected]:
    """A float32 batch, and what the engine should give for it."""
    batch = make(BORDERS[shape])
    return batch, expected(batch, OPTIONS[chosen], oracle=reference)


@by_kernel
@by_border
@by_options
def test_borders_keep_the_budget(kernel: str, shape: str, chosen: str) -> None:
    """Tails, tiles, parts, folds: no value is left out, counted twice or taken from elsewhere."""
    batch, want = answers(shape, chosen)
    for order in ORDERS:
        placed = batch.laid_out(order)
        fwd = OPTIONS[chosen].forward(placed, kernel)
        g = bn.batch_norm_backward(placed.dy, fwd, kernel=kernel)
        want.judge(y=fwd.y, dx=g.dx, dgamma=g.dgamma, dbeta=g.dbeta)


@by_kernel
@by_border
def test_borders_add_to_what_is_there(kernel: str, shape: str) -> None:
    """With "add" every value of dx and dresidual is what was there plus the gradient, once."""
    batch, _ = answers(shape, "all at once")
    fwd = OPTIONS["all at once"].forward(batch, kernel)
    written = bn.batch_norm_backward(batch.dy, fwd, kernel=kernel)
    into = bn.Gradients(dx=np.full_like(batch.x, 0.5), dresidual=np.full_like(batch.x, 0.25))
    added = bn.batch_norm_backward(
        batch.dy, fwd, dx="add", dresidual="add", into=into, kernel=kernel
    )
    for got, write, before in (
        (added.dx, written.dx, 0.5),
        (added.dresidual, written.dresidual, 0.25),
    ):
        assert got is not None
        assert_within_budget(got, write.astype("f8") + before, channel_axis=1)


@by_kernel
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])
def test_small_shapes_keep_the_budget(kernel: str, shape: str, dtype: str) -> None:
    """From two axes to five, in the formats that the borders above leave out."""
    batch = make(SHAPES[shape], dtype)
    options = Options(activation="relu", residual=True)
    fwd = options.forward(batch, kernel)
    g = bn.batch_norm_backward(batch.dy, fwd, kernel=kernel)
    expected(batch, options).judge(y=fwd.y, dx=g.dx, dgamma=g.dgamma, dbeta=g.dbeta)


@by_kernel
@pytest.mark.parametrize("shape", [(1, 3), (1, 3, 1, 1)])
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_one_value_is_its_own_mean(kernel: str, shape: tuple[int, ...], dtype: str) -> None:
    """n = 1: var is 0, y is beta and dx is 0, without any rounding."""
    batch = make(shape, dtype, offset=100.1)
    fwd = bn.batch_norm(batch.x, batch.gamma, batch.beta, kernel=kernel)
    g = bn.batch_norm_backward(batch.dy, fwd, kernel=kernel)
    assert fwd.var.tolist() == [0.0] * 3
    assert fwd.y.ravel().tolist() == batch.beta.tolist()
    assert not g.dx.any()
    assert not g.dgamma.any()
    assert g.dbeta.tolist() == batch.dy.ravel().tolist()


@by_kernel
@pytest.mark.parametrize("std", [1e-3, 1.0, 1e3])
def test_two_values_are_one_above_and_one_below(kernel: str, std: float) -> None:
    """n = 2: y hardly depends on x, and dx is what little is left of three large parts."""
    batch = make((2, 40), std=std)
    fwd = bn.batch_norm(batch.x, batch.gamma, batch.beta, kernel=kernel)
    g = bn.batch_norm_backward(batch.dy, fwd, kernel=kernel)
    expected(batch).judge(y=fwd.y, dx=g.dx, dgamma=g.dgamma, dbeta=g.dbeta)


@by_kernel
@pytest.mark.parametrize("order", ["contiguous", "channels last"])
def test_a_constant_channel_gives_beta(kernel: str, order: str) -> None:
    """Where all values are equal the variance is 0 up to rounding, and y is beta."""
    batch = make((50, 3, 7))
    batch.x[:, 1] = np.float32(0.1)
    fwd = bn.batch_norm(batch.laid_out(order).x, batch.gamma, batch.beta, kernel=kernel)
    assert_within_budget(fwd.y[:, 1], np.full((50, 7), float(batch.beta[1])))

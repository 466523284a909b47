"""Channels whose results float32 would spoil: float64 computes them, and nobody else notices."""

from __future__ import annotations

import numpy as np
import pytest

import backnorm as bn
from backnorm.testing.budget import assert_bits, assert_within_budget
from backnorm.testing.cases import KERNELS, Batch, make
from oracles import extended

SHAPES = {
    "planes": (6, 5, 12, 11),
    "small planes": (6, 5, 3, 3),
    "vectors": (300, 40),
    "folded": (1024, 5),
    "one tile and a tail": (5, 1100),
}
BAD = 3
"""The channel that needs float64."""

by_kernel = pytest.mark.parametrize("kernel", KERNELS)
by_shape = pytest.mark.parametrize("shape", SHAPES)
by_order = pytest.mark.parametrize("order", ["contiguous", "channels last"])


def cancelling(batch: Batch) -> Batch:
    """The same batch; in one channel dy is nearly a line over x: hardly any gradient is left."""
    other = batch.laid_out("contiguous")
    rest = other.dy[:, BAD] * np.float32(1e-4)
    other.dy[:, BAD] = 2 * other.x[:, BAD] + 1 + rest
    return other


def huge(batch: Batch) -> Batch:
    """The same batch; the square of one channel's inv_std is out of float32's range."""
    other = batch.laid_out("contiguous")
    other.x[:, BAD] *= np.float32(5e37)
    return other


def run(batch: Batch, order: str, kernel: str) -> list[np.ndarray]:
    """Forward and backward, with dx and dresidual added to what is there."""
    placed = batch.laid_out(order)
    fwd = bn.batch_norm(
        placed.x,
        batch.gamma,
        batch.beta,
        residual=placed.residual,
        activation="relu",
        kernel=kernel,
    )
    into = bn.Gradients(dx=placed.residual.copy(), dresidual=placed.residual.copy())
    g = bn.batch_norm_backward(placed.dy, fwd, dx="add", dresidual="add", into=into, kernel=kernel)
    assert g.dx is not None
    assert g.dresidual is not None
    return [fwd.y, g.dx, g.dresidual]


@by_kernel
@by_shape
@by_order
def test_a_gradient_that_cancels_keeps_the_budget(kernel: str, shape: str, order: str) -> None:
    """dx is a ten-thousandth of what it is the difference of, and good to its own last digits."""
    batch = cancelling(make(SHAPES[shape]))
    placed = batch.laid_out(order)
    fwd = bn.batch_norm(placed.x, batch.gamma, batch.beta, kernel=kernel)
    g = bn.batch_norm_backward(placed.dy, fwd, kernel=kernel)
    exact = extended.backward(batch.dy, batch.x, batch.gamma).dx
    assert g.dx is not None
    assert_within_budget(g.dx, exact, channel_axis=1)


@by_kernel
@by_shape
@by_order
@pytest.mark.parametrize("change", [cancelling, huge])
def test_a_channel_in_float64_leaves_the_others_their_bits(
    kernel: str, shape: str, order: str, change: type
) -> None:
    """y, dx and dresidual of all other channels, with gradients added to what is there."""
    batch = make(SHAPES[shape])
    others = np.arange(batch.x.shape[1]) != BAD
    for got, want in zip(run(change(batch), order, kernel), run(batch, order, kernel), strict=True):
        assert_bits(got[:, others], want[:, others])


@by_kernel
@by_shape
@by_order
def test_gradients_are_added_once(kernel: str, shape: str, order: str) -> None:
    """What a channel in float64 adds is what it writes, added to what was there."""
    batch = cancelling(make(SHAPES[shape])).laid_out(order)
    fwd = bn.batch_norm(batch.x, batch.gamma, batch.beta, residual=batch.residual, kernel=kernel)
    g = bn.batch_norm_backward(batch.dy, fwd, kernel=kernel)
    into = bn.Gradients(dx=np.zeros_like(batch.x), dresidual=np.zeros_like(batch.x))
    added = bn.batch_norm_backward(
        batch.dy, fwd, dx="add", dresidual="add", into=into, kernel=kernel
    )
    for name in ("dx", "dresidual"):
        assert_bits(getattr(added, name) + 0, getattr(g, name) + 0)


@by_kernel
def test_a_shift_out_of_range_does_not_turn_the_sign(kernel: str) -> None:
    """What the mean loses in float32, times inv_std, exceeds every float32: y is +inf."""
    mean = 2.0**99 + 2.0**74
    x = np.array([[np.nextafter(np.float32(mean), np.float32(np.inf))] * 20], np.float32).T
    frozen = {"running_mean": np.array([mean]), "running_var": np.array([2.0**-108])}
    y = bn.batch_norm(x, eps=0.0, **frozen, kernel=kernel).y
    assert (y == np.inf).all()


@by_kernel
@by_order
def test_a_slope_below_float32_keeps_its_digits(kernel: str, order: str) -> None:
    """leaky_relu with a slope of 1e-42, which float32 holds to three digits only."""
    batch = make(SHAPES["planes"])
    x = batch.laid_out(order).x
    frozen = {"running_mean": np.zeros(5), "running_var": np.full(5, 1e-60)}
    with np.errstate(over="ignore"):
        y = bn.batch_norm(
            x, eps=0.0, **frozen, activation="leaky_relu", negative_slope=1e-42, kernel=kernel
        ).y
    below = x < 0
    assert_within_budget(y[below], x[below].astype(np.float64) * 1e30 * 1e-42)

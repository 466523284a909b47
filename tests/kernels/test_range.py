"""From the smallest values of each format to the largest."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import numpy as np
import pytest

import backnorm as bn
from backnorm.testing.budget import assert_within_budget
from backnorm.testing.cases import KERNELS, MODES, THROUGHS, Batch, dtype_of, make
from kernels.expected import Options, expected

ORDERS = ("contiguous", "channels last", "every other channel")

by_kernel = pytest.mark.parametrize("kernel", KERNELS)
by_order = pytest.mark.parametrize("order", ORDERS)


@dataclass(frozen=True)
class Range:
    """The size of the values; a factor of gamma, beta and dy each."""

    dtype: str = "float32"
    std: float = 1.0
    gamma: float = 1.0
    beta: float = 1.0
    dy: float = 1.0
    eps: float = 1e-5


RANGES = {
    "x of 1e30": Range(std=1e30),
    "x up to the largest float32": Range(std=3.4e38 / 6),
    "x of 1e-30": Range(std=1e-30),
    "x of 1e-30, no eps": Range(std=1e-30, eps=0.0),
    "subnormal x": Range(std=1e-41),
    "subnormal x, no eps": Range(std=1e-41, dy=1e-10, eps=0.0),
    "x of 1e12, no eps": Range(std=1e12, eps=0.0),
    "x of 1e-12, no eps": Range(std=1e-12, eps=0.0),
    "dy of 1e30": Range(dy=1e30),
    "dy up to the largest float32": Range(dy=1e37),
    "dy of 1e-30": Range(dy=1e-30),
    "subnormal dy": Range(dy=1e-41),
    "subnormal dy, x of 1e-4": Range(std=1e-4, dy=1e-41, eps=1e-12),
    "subnormal dy, x of 1e-30": Range(std=1e-30, dy=1e-41, eps=0.0),
    "dy next to subnormal, x of 1e-4": Range(std=1e-4, dy=1e-37, eps=1e-12),
    "subnormal dy, gamma of 1e8": Range(gamma=1e8, dy=1e-42),
    "huge dy, huge x": Range(std=1e30, dy=1e36),
    "tiny dy, tiny x": Range(std=1e-30, dy=1e-36, eps=0.0),
    "gamma of 1e30": Range(gamma=1e30),
    "gamma of 1e-30": Range(gamma=1e-30, beta=0.0),
    "gamma of 0": Range(gamma=0.0),
    "beta of 1e35": Range(beta=1e35),
    "float16 up to its largest": Range("float16", std=65504 / 6),
    "float16 subnormal": Range("float16", std=1e-6, eps=0.0, dy=1e-3),
    "float16, subnormal dy": Range("float16", dy=1e-6),
    "float16, tiny dy": Range("float16", std=1e3, dy=1e-3),
    "bfloat16 of 1e30": Range("bfloat16", std=1e30),
    "bfloat16 up to its largest": Range("bfloat16", std=3.3e38 / 6),
    "bfloat16 subnormal": Range("bfloat16", std=1e-39, dy=1e-10, eps=0.0),
    "bfloat16, tiny dy": Range("bfloat16", dy=1e-37),
    "bfloat16, subnormal dy": Range("bfloat16", std=1e-4, dy=1e-39, eps=1e-12),
    "float64 of 1e150": Range("float64", std=1e150),
    "float64 of 1e-150, no eps": Range("float64", std=1e-150, eps=0.0),
    "float64, tiny dy": Range("float64", dy=1e-300),
    "float64, huge dy": Range("float64", dy=1e300),
}


def batch_of(size: Range) -> Batch:
    """A batch of values of that size."""
    batch = make((6, 4, 5, 3), size.dtype, std=size.std, offset=0.5)
    format_ = dtype_of(size.dtype)

    def sized(values: np.ndarray, factor: float) -> np.ndarray:
        return (values.astype("f8") * factor).astype(format_)

    return replace(
        batch,
        gamma=sized(batch.gamma, size.gamma),
        beta=sized(batch.beta, size.beta),
        dy=sized(batch.dy, size.dy),
    )


@by_kernel
@pytest.mark.parametrize("size", RANGES)
def test_any_size_keeps_the_budget(kernel: str, size: str) -> None:
    """Neither the variance nor a product on the way overflows, or loses digits to underflow."""
    batch = batch_of(RANGES[size])
    for mode, order in product(MODES, ORDERS):
        options = Options(mode, "leaky_relu", eps=RANGES[size].eps)
        placed = batch.laid_out(order)
        fwd = options.forward(placed, kernel)
        g = bn.batch_norm_backward(placed.dy, fwd, kernel=kernel)
        expected(batch, options).judge(y=fwd.y, dx=g.dx, dgamma=g.dgamma, dbeta=g.dbeta)


@by_kernel
@by_order
@pytest.mark.parametrize("through", THROUGHS)
@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
def test_slopes_do_not_underflow(kernel: str, order: str, through: Any, dtype: str) -> None:
    """dy times the slope is below the smallest float32, and dx far above it."""
    batch = batch_of(Range(dtype, std=1e-4, dy=1e-6, eps=1e-12))
    batch.beta[::2] = -1000.0  # all values of these channels go through the slope
    options = Options("batch", "leaky_relu", through=through, negative_slope=2.0**-124, eps=1e-12)
    placed = batch.laid_out(order)
    fwd = options.forward(placed, kernel)
    g = bn.batch_norm_backward(placed.dy, fwd, through=through, kernel=kernel)
    expected(batch, options).judge(dx=g.dx, dgamma=g.dgamma, dbeta=g.dbeta)


@by_kernel
@by_order
def test_sizes_may_differ_between_channels(kernel: str, order: str) -> None:
    """A channel that needs float64 does not disturb its neighbours, nor they it."""
    batch = make((6, 5, 4, 3))
    for channel, factor in enumerate((1.0, 1e30, 1.0, 1e-30, 1.0)):
        batch.x[:, channel] *= np.float32(factor)
    options = Options(activation="relu", residual=True, eps=0.0)
    placed = batch.laid_out(order)
    fwd = options.forward(placed, kernel)
    g = bn.batch_norm_backward(placed.dy, fwd, kernel=kernel)
    want = expected(batch, options)
    want.judge(y=fwd.y, dx=g.dx, dgamma=g.dgamma, dbeta=g.dbeta, dresidual=g.dresidual)


@by_kernel
@by_order
def test_the_largest_values_of_either_sign_do_not_overflow(kernel: str, order: str) -> None:
    """Half of the values the largest float32, half the smallest: y is 1 and -1."""
    batch = make((4, 3, 8))
    batch.x[:, :, ::2] = np.finfo("f4").max
    batch.x[:, :, 1::2] = np.finfo("f4").min
    fwd = bn.batch_norm(batch.laid_out(order).x, kernel=kernel)
    assert_within_budget(fwd.y, np.sign(batch.x.astype("f8")), channel_axis=1)


@by_kernel
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_a_result_beyond_the_format_is_infinite(kernel: str, dtype: str) -> None:
    """As every operation of IEEE arithmetic: infinity of the right sign, silently."""
    batch = make((6, 2), dtype)
    gamma = np.full(2, 1e300)
    fwd = bn.batch_norm(batch.x, gamma, kernel=kernel)
    want = np.sign(batch.x.astype("f8") - fwd.mean)
    assert (fwd.y.astype("f8") == want * np.inf).all()


@by_kernel
@by_order
def test_sums_of_gradients_may_exceed_the_gradients(kernel: str, order: str) -> None:
    """dbeta beyond float32 becomes infinite in float32; dx, which needs only its mean, does not."""
    batch = make((50, 2, 3))
    batch = replace(batch, dy=np.full_like(batch.x, 3e37) * (1 + batch.x / 100))
    placed = batch.laid_out(order)
    fwd = bn.batch_norm(placed.x, batch.gamma, batch.beta, kernel=kernel)
    g = bn.batch_norm_backward(placed.dy, fwd, kernel=kernel)
    assert np.isposinf(g.dbeta).all()
    expected(batch).judge(dx=g.dx)

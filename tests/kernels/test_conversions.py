"""The 16-bit formats: every bit pattern read, and rounding to the nearest even when written.

Each native level has conversions of its own: vector instructions, or code for lanes one by one. A
channel with statistics far from 1 takes the way in float64, which has yet another.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import backnorm as bn
from backnorm.testing.budget import assert_bits
from backnorm.testing.cases import KERNELS, dtype_of

if TYPE_CHECKING:
    from backnorm._types import AnyArray

WAYS = {"usual": 1.0, "in float64": 2.0**-50}
"""gamma, with inv_std its inverse: their product is 1, but the second is out of float32's range."""

by_kernel = pytest.mark.parametrize("kernel", KERNELS)
by_dtype = pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
by_way = pytest.mark.parametrize("way", WAYS)
by_shape = pytest.mark.parametrize("shape", [(1, 1, 65536), (8192, 8), (65536, 1), (13, 5041)])


def patterns(dtype: str, shape: tuple[int, ...] = (1, 1, 65536)) -> AnyArray:
    """Every bit pattern of the format, in order, cut to the shape."""
    count = int(np.prod(shape))
    return np.arange(count, dtype=np.uint16).view(dtype_of(dtype)).reshape(shape)


def affine(x: AnyArray, factor: float, kernel: str, way: str = "usual", **more: Any) -> AnyArray:
    """y = factor*x through frozen statistics: mean 0, and inv_std what `way` says.

    beta is -0, since -0 + 0 would be 0.
    """
    c = x.shape[1]
    gamma = np.full(c, factor * WAYS[way], np.float32)
    frozen = {"running_mean": np.zeros(c), "running_var": np.full(c, WAYS[way] ** 2)}
    beta = np.full(c, -0.0, np.float32)
    return bn.batch_norm(x, gamma, beta, eps=0.0, **frozen, kernel=kernel, **more).y


def is_nan(values: AnyArray) -> AnyArray:
    """numpy.isnan, in float32: on bfloat16 it warns of the very NaN it is asked about."""
    return np.isnan(values.astype(np.float32))


def assert_same(got: AnyArray, want: AnyArray) -> None:
    """Assert the same bits, where a NaN may be any NaN."""
    nan = is_nan(want)
    assert (is_nan(got) == nan).all()
    assert_bits(np.where(nan, 0, got).astype(got.dtype), np.where(nan, 0, want).astype(want.dtype))


@by_kernel
@by_dtype
@by_way
@by_shape
def test_every_pattern_comes_back(
    kernel: str, dtype: str, way: str, shape: tuple[int, ...]
) -> None:
    """Times 1: all 65536 patterns, subnormals, zeros of both signs and infinities among them."""
    x = patterns(dtype, shape)
    assert_same(affine(x, 1.0, kernel, way), x)


@by_kernel
@by_dtype
@by_way
@pytest.mark.parametrize("factor", [1.5, 0.75, 2.0**-10 * 1.25, 3.0 * 2.0**-6])
def test_ties_go_to_the_even_neighbour(kernel: str, dtype: str, way: str, factor: float) -> None:
    """Products that float32 holds exactly, half of them in the middle between two neighbours."""
    x = patterns(dtype)
    with np.errstate(all="ignore"):
        want = (x.astype(np.float32) * np.float32(factor)).astype(x.dtype)
    assert_same(affine(x, factor, kernel, way), want)


@by_kernel
@by_dtype
def test_a_residual_is_read_like_x(kernel: str, dtype: str) -> None:
    """x times 0 plus the residual: every pattern comes back."""
    residual = patterns(dtype)
    finite = np.where(np.isfinite(residual.astype(np.float32)), residual, 0).astype(residual.dtype)
    y = affine(np.zeros_like(finite), 1.0, kernel, residual=finite)
    assert (y == finite).all()


@by_kernel
@by_dtype
@by_way
def test_gradients_are_read_and_written_like_x(kernel: str, dtype: str, way: str) -> None:
    """dx = dy through the same identity, and dx added to 0."""
    dy = patterns(dtype)
    x = np.zeros_like(dy)
    frozen = {"running_mean": np.zeros(1), "running_var": np.full(1, WAYS[way] ** 2)}
    fwd = bn.batch_norm(x, np.full(1, WAYS[way], "f4"), eps=0.0, kernel=kernel, **frozen)
    assert_same(bn.batch_norm_backward(dy, fwd, kernel=kernel).dx, dy)
    into = bn.Gradients(dx=np.full_like(dy, -0.0))
    assert_same(bn.batch_norm_backward(dy, fwd, dx="add", into=into, kernel=kernel).dx, dy)


@by_kernel
@by_dtype
def test_parameter_gradients_are_rounded_once(kernel: str, dtype: str) -> None:
    """dbeta is a float64 sum, rounded to the format of beta to nearest even."""
    one, half_unit = 1.0, {"float16": 2.0**-11, "bfloat16": 2.0**-8}[dtype]
    dy = np.array([[one, one], [half_unit, 3 * half_unit]]).astype(dtype_of(dtype))
    fwd = bn.batch_norm(np.zeros_like(dy), beta=np.zeros(2, dy.dtype), kernel=kernel)
    g = bn.batch_norm_backward(dy, fwd, kernel=kernel)
    assert g.dbeta.astype(float).tolist() == [1.0, 1.0 + 4 * half_unit]

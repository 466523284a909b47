"""a*b + c rounded once, in NumPy, which has no such function."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from backnorm._types import AnyArray, Float64Array

__all__ = ["fused"]

SPLIT: Final = 2.0**27 + 1.0  # Veltkamp's: splits a float64 into two halves of 26 bits

# Within these bounds no part of a product or of a sum overflows or is subnormal.
LARGEST: Final = 2.0**400
SMALLEST: Final = 2.0**-400


def fused(a: AnyArray, b: AnyArray, c: AnyArray) -> AnyArray:
    """Return a*b + c with a single rounding; all are float32, or all are float64."""
    a, b, c = np.broadcast_arrays(a, b, c)
    if a.dtype == np.float32:
        # The product is exact in float64. The sum is rounded to odd, so that the second rounding,
        # to float32, sees on which side of a tie it lies.
        product = a.astype(np.float64) * b
        return _to_odd(*_two_sum(product, c.astype(np.float64))).astype(np.float32)
    return _fused_float64(a, b, c)


def _fused_float64(a: Float64Array, b: Float64Array, c: Float64Array) -> Float64Array:
    """Boldo and Melquiond's algorithm; value by value where its parts leave the range."""
    high, low = _two_product(a, b)
    first, rest = _two_sum(c, low)
    top, below = _two_sum(high, first)
    result = top + _to_odd(*_two_sum(rest, below))
    inside = np.ones(a.shape, bool)
    for values in (a, b, c):
        size = np.abs(values)
        inside &= (size == 0) | ((size < LARGEST) & (size > SMALLEST))
    # Where the result is 0 the plain operations are exact, and they give its sign.
    result = np.where(inside & (result != 0), result, a * b + c)
    for at in zip(*np.nonzero(~inside), strict=True):
        result[at] = _one(float(a[at]), float(b[at]), float(c[at]))
    return result


def _one(a: float, b: float, c: float) -> float:
    if not (math.isfinite(a) and math.isfinite(b) and math.isfinite(c)):
        return float(np.float64(a) * np.float64(b) + np.float64(c))
    total = Fraction(a) * Fraction(b) + Fraction(c)
    if total == 0:
        return float(np.float64(a) * np.float64(b) + np.float64(c))  # for its sign
    try:
        return total.numerator / total.denominator
    except OverflowError:
        return math.inf if total > 0 else -math.inf


def _two_sum(a: Float64Array, b: Float64Array) -> tuple[Float64Array, Float64Array]:
    total = a + b
    back = total - a
    return total, (a - (total - back)) + (b - back)


def _two_product(a: Float64Array, b: Float64Array) -> tuple[Float64Array, Float64Array]:
    product = a * b
    (p, q), (r, s) = _halves(a), _halves(b)
    return product, ((p * r - product) + p * s + q * r) + q * s


def _halves(a: Float64Array) -> tuple[Float64Array, Float64Array]:
    scaled = a * SPLIT
    high = scaled - (scaled - a)
    return high, a - high


def _to_odd(total: Float64Array, error: Float64Array) -> Float64Array:
    """Return total + error with the last bit set if the sum is not a float64."""
    bits = total.view(np.int64)
    inexact = (error != 0) & np.isfinite(total) & np.isfinite(error) & (bits & 1 == 0)
    away = (error > 0) == (total > 0)
    return np.where(inexact, bits + np.where(away, 1, -1), bits).view(np.float64)

"""Sums of values and of their products as Python integers, and their rounding to float64.

A float32 value is m * 2^(e - 149) with a mantissa m of 24 bits. Mantissas of one exponent are added
first, in float64, which holds such a sum exactly; the sums of all exponents become one integer for
each channel. So the order of the values cannot change a bit. A float64 value is m * 2^(e - 1074),
and its mantissa of 53 bits is added in two parts.
"""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from backnorm._types import AnyArray, Float64Array

__all__ = [
    "UNIT",
    "WIDE_UNIT",
    "IntegerSum",
    "products",
    "quotient",
    "values",
    "wide_products",
    "wide_values",
]

UNIT: Final = 298
"""An integer of `IntegerSum` counts 2^-298: the square of the smallest float32."""

WIDE_UNIT: Final = 2148
"""Integers of float64 values count 2^-2148: the square of the smallest float64."""

SHIFT: Final = 149
WIDE_SHIFT: Final = 1074
WIDE_HALF: Final = 27
HALF: Final = 24  # products of mantissas have 48 bits: both halves are summed apart
# Of one part, so that sums of 24 bits stay below 2^53.
MOST_VALUES: Final = 1 << 20


class IntegerSum(NamedTuple):
    """A sum of one channel: an integer in units of 2^-UNIT, and the sum of what is not finite.

    The latter is 0, or an infinity or NaN, which then is the value.
    """

    integer: int
    special: float

    def __add__(self, other: IntegerSum) -> IntegerSum:  # type: ignore[override] # not a longer tuple
        """Return the sum of both."""
        return IntegerSum(self.integer + other.integer, self.special + other.special)

    @property
    def is_finite(self) -> bool:
        """Whether all values were finite."""
        return self.special == 0.0

    def rounded(self, one: int = 1 << UNIT) -> float:
        """Return the nearest float64, where 1 is an integer of `one`."""
        return quotient(self.integer, one) if self.is_finite else self.special


def values(x: AnyArray) -> list[IntegerSum]:
    """Return the sum of each channel of x, shape (outer, C, inner), float32."""
    sums = _Bins(x.shape[1], SHIFT)
    for part in _parts(x):
        mantissa, exponent, special = _split(part)
        sums.add(mantissa, exponent, special)
    return sums.totals()


def products(x: AnyArray, y: AnyArray) -> list[IntegerSum]:
    """Return the sum of x*y of each channel; both have shape (outer, C, inner), float32."""
    sums = _Bins(x.shape[1], 0)
    for a, b in zip(_parts(x), _parts(y), strict=True):
        (p, e, special_p), (q, f, special_q) = _split(a), _split(b)
        odd = (special_p != 0) | (special_q != 0)
        special = np.where(odd, a.astype(np.float64) * b, 0.0)
        product = np.where(odd, 0, p * q)
        low = product & ((1 << HALF) - 1)
        sums.add(low, e + f, special)
        sums.add((product - low) >> HALF, e + f + HALF, np.zeros(1))
    return sums.totals()


def wide_values(x: AnyArray) -> list[IntegerSum]:
    """Return the same as `values` of float64, in units of 2^-WIDE_UNIT."""
    sums = _Bins(x.shape[1], WIDE_SHIFT)
    for part in _parts(x):
        halves, exponent, special = _split_wide(part)
        for half, up in halves:
            sums.add(half, exponent + up, special)
            special = np.zeros(1)
    return sums.totals()


def wide_products(x: AnyArray, y: AnyArray) -> list[IntegerSum]:
    """Return the same as `products` of float64, in units of 2^-WIDE_UNIT."""
    sums = _Bins(x.shape[1], 0)
    none = np.zeros(1)
    for a, b in zip(_parts(x), _parts(y), strict=True):
        (of_a, e, special_a), (of_b, f, special_b) = _split_wide(a), _split_wide(b)
        odd = (special_a != 0) | (special_b != 0)
        sums.add(np.zeros_like(e), e, np.where(odd, a, 0.0) * np.where(odd, b, 0.0))
        for (p, up_a), (q, up_b) in itertools.product(of_a, of_b):
            product, exponent = np.where(odd, 0, p * q), e + f + up_a + up_b
            low = product & ((1 << HALF) - 1)
            sums.add(low, exponent, none)
            sums.add((product - low) >> HALF, exponent + HALF, none)
    return sums.totals()


def quotient(numerator: int, denominator: int) -> float:
    """Return numerator/denominator rounded once; infinite if no float64 is as large."""
    try:
        return numerator / denominator  # Python rounds the quotient of integers correctly
    except OverflowError:
        return math.inf if numerator > 0 else -math.inf


class _Bins:
    """Sums of mantissas by channel and exponent."""

    def __init__(self, channels: int, shift: int) -> None:
        self._integers = [0] * channels
        self._special = np.zeros(channels)
        self._shift = shift  # of an exponent of 0, above the unit

    def add(self, mantissa: AnyArray, exponent: AnyArray, special: Float64Array) -> None:
        """Add values of shape (outer, C, inner)."""
        channels, span = len(self._integers), int(exponent.max(initial=0)) + 1
        index = exponent + span * np.arange(channels)[:, None]
        sums = np.bincount(index.ravel(), mantissa.ravel().astype(np.float64), channels * span)
        for at in np.flatnonzero(sums):
            channel, e = divmod(int(at), span)
            self._integers[channel] += int(sums[at]) << (e + self._shift)
        if special.any():
            with np.errstate(invalid="ignore"):  # infinities of both signs are NaN together
                self._special += special.sum(axis=(0, 2))

    def totals(self) -> list[IntegerSum]:
        """Return the sums of all channels."""
        return [IntegerSum(i, float(s)) for i, s in zip(self._integers, self._special, strict=True)]


def _parts(x: AnyArray) -> list[AnyArray]:
    outer, _, inner = x.shape
    length = max(1, min(inner, MOST_VALUES))
    height = max(1, MOST_VALUES // length)
    return [
        x[o : o + height, :, i : i + length]
        for o in range(0, outer, height)
        for i in range(0, inner, length)
    ]


def _split(x: AnyArray) -> tuple[AnyArray, AnyArray, Float64Array]:
    """Return signed mantissas, exponents, and the values that are not finite (else 0)."""
    bits = np.ascontiguousarray(x).view(np.uint32)
    exponent = ((bits >> 23) & 255).astype(np.int64)
    fraction = (bits & 0x7FFFFF).astype(np.int64)
    finite = exponent < 255  # noqa: PLR2004 - the exponent of infinity and NaN
    mantissa = np.where(exponent > 0, fraction | 0x800000, fraction)
    mantissa = np.where(finite, np.where(bits >> 31, -mantissa, mantissa), 0)
    special = np.where(finite, 0.0, x).astype(np.float64)
    return mantissa, np.where(finite, np.maximum(exponent, 1) - 1, 0), special


def _split_wide(
    x: AnyArray,
) -> tuple[list[tuple[AnyArray, int]], AnyArray, Float64Array]:
    """Return the same of float64 values; a mantissa as two parts, each with its exponent."""
    bits = np.ascontiguousarray(x).view(np.uint64)
    exponent = ((bits >> np.uint64(52)) & np.uint64(2047)).astype(np.int64)
    fraction = (bits & np.uint64((1 << 52) - 1)).astype(np.int64)
    finite = exponent < 2047  # noqa: PLR2004 - the exponent of infinity and NaN
    mantissa = np.where(exponent > 0, fraction | (1 << 52), fraction)
    mantissa = np.where(finite, np.where(bits >> np.uint64(63), -mantissa, mantissa), 0)
    halves = [(mantissa & ((1 << WIDE_HALF) - 1), 0), (mantissa >> WIDE_HALF, WIDE_HALF)]
    special = np.where(finite, 0.0, x)
    return halves, np.where(finite, np.maximum(exponent, 1) - 1, 0), special

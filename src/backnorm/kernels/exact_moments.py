"""The exact sums of x and of x*x of each channel."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from backnorm.kernels import native_kernel
from backnorm.kernels._integers import (
    UNIT,
    WIDE_UNIT,
    products,
    quotient,
    values,
    wide_products,
    wide_values,
)

if TYPE_CHECKING:
    from backnorm._types import AnyArray

__all__ = ["NO_VALUES", "ExactMoments", "exact_moments"]

VALUE_SHIFT: Final = WIDE_UNIT // 2
DIGIT_BITS: Final = 27  # of moment_bins.hpp

CHANNELS_AT_ONCE: Final = 1024
"""Bins of a channel take up to 100 KB."""

DENOMINATOR: Final = 1 << WIDE_UNIT


class ExactMoments(NamedTuple):
    """Count, sum and sum of squares of one channel.

    Attributes
    ----------
    n
        How many values there are.
    first, second
        The sums of the finite values and of their squares, in units of 2^-2148.
    special
        0; or infinity or NaN, if there are such values: then it is their sum.
    """

    n: int
    first: int
    second: int
    special: float

    def __add__(self, other: ExactMoments) -> ExactMoments:  # type: ignore[override] # not a longer tuple
        """Return the moments of the values of both."""
        return ExactMoments(
            self.n + other.n,
            self.first + other.first,
            self.second + other.second,
            self.special + other.special,
        )

    def mean(self) -> float:
        """Return the mean, rounded once; NaN of no values."""
        if self.n == 0 or self.special != 0.0:
            return self.special if self.n else math.nan
        return quotient(self.first, self.n * DENOMINATOR)

    def var(self, ddof: int) -> float:
        """Return the sum of squared deviations over n - ddof, rounded once; NaN if that is 0."""
        if self.n <= ddof or self.special != 0.0:
            return math.nan
        square = self.n * self.second * DENOMINATOR - self.first * self.first
        return quotient(square, self.n * (self.n - ddof) * DENOMINATOR * DENOMINATOR)


NO_VALUES: Final = ExactMoments(0, 0, 0, 0.0)


def exact_moments(x: AnyArray, *, native: bool = True) -> list[ExactMoments]:
    """Return the moments of each channel of x, shape (outer, C, inner), of any float dtype.

    x is laid out as for a kernel. The C++ part takes the sums if it was built and native is true;
    they are the same integers.
    """
    n = x.shape[0] * x.shape[2]
    step = CHANNELS_AT_ONCE
    parts = [x[:, c : c + step] for c in range(0, x.shape[1], step)]
    sums = [pair for part in parts for pair in (native and _binned(part)) or _summed(part)]
    return [ExactMoments(n, *pair) for pair in sums]


def _summed(x: AnyArray) -> list[tuple[int, int, float]]:
    """Take the sums in NumPy."""
    if x.dtype == np.float64:
        sums, up = list(zip(wide_values(x), wide_products(x, x), strict=True)), 0
    else:
        single = x.astype(np.float32)
        sums = list(zip(values(single), products(single, single), strict=True))
        up = WIDE_UNIT - UNIT
    return [
        (first.integer << up, second.integer << up, _one(first.special)) for first, second in sums
    ]


def _binned(x: AnyArray) -> list[tuple[int, int, float]] | None:
    """Take them in C++; None if it was not built."""
    bins = native_kernel.moment_bins(x)
    if bins is None:
        return None
    low, digits, special = bins
    return [
        (
            _total(channel[:2], low, 1) << VALUE_SHIFT,
            _total(channel[2:], 2 * low, 2),
            _one(float(odd)),
        )
        for channel, odd in zip(digits, special, strict=True)
    ]


def _total(digits: AnyArray, low: int, step: int) -> int:
    """Add sums of digits of DIGIT_BITS bits, whose exponents go up by step from low."""
    total = 0
    for k, e in zip(*np.nonzero(digits), strict=True):
        total += int(digits[k, e]) << (low + step * int(e) + DIGIT_BITS * int(k))
    return total


def _one(special: float) -> float:
    """Return what is not finite, as one of 0, the infinities and the NaN that math has."""
    return math.nan if math.isnan(special) else special

"""The exact sums of x and of x*x of each channel."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from backnorm.kernels._integers import (
    UNIT,
    WIDE_UNIT,
    IntegerSum,
    products,
    quotient,
    values,
    wide_moments,
)

if TYPE_CHECKING:
    from backnorm._types import AnyArray

__all__ = ["NO_VALUES", "ExactMoments", "exact_moments"]

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


def exact_moments(x: AnyArray) -> list[ExactMoments]:
    """Return the moments of each channel of x, shape (outer, C, inner), of any float dtype."""
    n = x.shape[0] * x.shape[2]
    if x.dtype == np.float64:
        sums, up = wide_moments(x), 0
    else:
        single = x.astype(np.float32)
        sums = list(zip(values(single), products(single, single), strict=True))
        up = WIDE_UNIT - UNIT
    return [
        ExactMoments(n, first.integer << up, second.integer << up, _one(first))
        for first, second in sums
    ]


def _one(total: IntegerSum) -> float:
    """Return what is not finite, as one of 0, the infinities and the NaN that math has."""
    return math.nan if math.isnan(total.special) else total.special

"""What the exact law computes from integer sums, with one rounding; in NumPy and Python."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from backnorm.kernels._integers import UNIT, IntegerSum, quotient
from backnorm.results import StatisticsRow

if TYPE_CHECKING:
    from collections.abc import Iterable

    from backnorm._types import Float64Array

__all__ = ["Comoments", "store_comoments", "store_moments"]

Sides = tuple[IntegerSum, IntegerSum]


class Comoments(NamedTuple):
    """Sums of a channel in the backward pass.

    The first of each two is of values where the activation's slope is 1, the second of those where
    it is the other one.
    """

    plain: Sides
    size: Sides
    product: Sides


def store_moments(
    sums: Iterable[tuple[IntegerSum, IntegerSum]],
    n: int,
    eps: float,
    rows: Float64Array,
    unit: int = UNIT,
) -> None:
    """Store the statistics of n values a channel, from the sums of x and of x*x.

    The integers of the sums count 2^-unit.
    """
    one = 1 << unit
    for c, (first, second) in enumerate(sums):
        if not (first.is_finite and second.is_finite):
            rows[:3, c] = first.rounded(one) / n, 0.0, np.nan
            continue
        mean = quotient(first.integer, n * one)
        p, q = mean.as_integer_ratio()
        low = quotient(first.integer * q - p * n * one, q * n * one)
        square = n * second.integer * one - first.integer * first.integer
        rows[:3, c] = mean, low, quotient(square, n * n * one * one)
    rows[StatisticsRow.INV_STD] = 1.0 / np.sqrt(rows[StatisticsRow.VAR] + eps)


def store_comoments(
    sums: Iterable[Comoments],
    statistics: Float64Array,
    slope: float,
    rows: Float64Array,
    unit: int = UNIT,
) -> None:
    """Store dgamma, dbeta and the sum of abs(dz), one row each."""
    one = 1 << unit
    for c, channel in enumerate(sums):
        plain, size, product = (_Combined(*sides, slope, one) for sides in channel)
        mean, low, _, inv_std = statistics[:, c]
        rows[0, c] = _centred(plain, product, float(mean), float(low)) * inv_std
        rows[1, c] = plain.rounded()
        rows[2, c] = size.rounded()


class _Combined(NamedTuple):
    """inside + slope*outside, exactly."""

    inside: IntegerSum
    outside: IntegerSum
    slope: float
    one: int

    def exact(self) -> Fraction | None:
        """Return the value; None if it is not finite."""
        if not (self.inside.is_finite and self.outside.is_finite):
            return None
        whole = Fraction(self.inside.integer) + Fraction(self.outside.integer) * Fraction(
            self.slope
        )
        return whole / self.one

    def rounded(self) -> float:
        """Return the nearest float64."""
        exact = self.exact()
        if exact is None:
            return self.inside.special + self.slope * self.outside.special
        return quotient(exact.numerator, exact.denominator)


def _centred(plain: _Combined, product: _Combined, mean: float, low: float) -> float:
    """Return product - plain*(mean + low), rounded once; in float64 if anything is not finite."""
    s, p = plain.exact(), product.exact()
    if s is None or p is None or not (np.isfinite(mean) and np.isfinite(low)):
        return float(np.float64(product.rounded()) - np.float64(mean) * plain.rounded())
    exact = p - s * (Fraction(mean) + Fraction(low))
    return quotient(exact.numerator, exact.denominator)

"""Integer sums as limbs, and back: the layout of _native/exact_limbs.hpp.

A limb is an int64 that holds 32 bits of a sum. So limbs of 2^31 parts of a batch can be added, each
for itself, and the result is that of the whole batch.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final, NamedTuple

from backnorm.kernels._exact_results import Comoments
from backnorm.kernels._integers import UNIT, WIDE_UNIT, IntegerSum

if TYPE_CHECKING:
    from collections.abc import Iterable

    from backnorm._types import Int64Array

__all__ = [
    "BITS",
    "DOUBLE",
    "SINGLE",
    "Scale",
    "read_comoments",
    "read_moments",
    "scale_of",
    "write_comoments",
    "write_moments",
]

BITS: Final = 32


class Scale(NamedTuple):
    """In how many limbs the sums of a dtype are.

    Attributes
    ----------
    unit
        Sums of products count 2^-unit, those of values the square root of that.
    value_limbs, product_limbs
        They hold 2^40 of the largest value, or squares of it.
    """

    unit: int
    value_limbs: int
    product_limbs: int

    @property
    def value_unit(self) -> int:
        """Sums of values count 2^-value_unit."""
        return self.unit // 2

    @property
    def moment_limbs(self) -> int:
        """Of a channel: the sum of x, the sum of x*x, what is not finite."""
        return self.value_limbs + self.product_limbs + 1

    @property
    def comoment_limbs(self) -> int:
        """Of a side of a channel: sums of dz, abs(dz), dz*x; what is not finite of dz, of dz*x."""
        return 2 * self.value_limbs + self.product_limbs + 2


SINGLE: Final = Scale(UNIT, 10, 19)
"""Of float32 and narrower dtypes, which the native kernels know."""
DOUBLE: Final = Scale(WIDE_UNIT, 67, 133)
"""Of float64."""

_SCALES: Final = {n: s for s in (SINGLE, DOUBLE) for n in (s.moment_limbs, s.comoment_limbs)}

FIELD: Final = 21
"""Bits in which parts are counted whose sum of what is not finite is infinity, -infinity or NaN."""


def scale_of(limbs: Int64Array) -> Scale:
    """Return the scale of an array of limbs, which its last axis tells."""
    return _SCALES[limbs.shape[-1]]


def write_moments(
    first: Iterable[IntegerSum], second: Iterable[IntegerSum], out: Int64Array
) -> None:
    """Write the sums of x and of x*x to out, shape (C, moment_limbs)."""
    unit, values, _ = scale = scale_of(out)
    for limbs, a, b in zip(out, first, second, strict=True):
        _write(a.integer >> (unit - scale.value_unit), limbs[:values])
        _write(b.integer, limbs[values:-1])
        limbs[-1] = _marked(a.special)


def read_moments(limbs: Int64Array) -> list[tuple[IntegerSum, IntegerSum]]:
    """Return the sums again. Those of x*x count as finite: they matter where those of x are."""
    unit, values, _ = scale = scale_of(limbs)
    up = unit - scale.value_unit
    return [(_read(row[:values], up, int(row[-1])), _read(row[values:-1], 0, 0)) for row in limbs]


def write_comoments(sums: Iterable[Comoments], out: Int64Array) -> None:
    """Write the sums of the backward pass to out, shape (C, sides, comoment_limbs)."""
    unit, values, _ = scale = scale_of(out)
    down = unit - scale.value_unit
    for channel, of_channel in zip(out, sums, strict=True):
        for side, limbs in enumerate(channel):
            plain, size, product = (sides[side] for sides in of_channel)
            _write(plain.integer >> down, limbs[:values])
            _write(size.integer >> down, limbs[values : 2 * values])
            _write(product.integer, limbs[2 * values : -2])
            limbs[-2:] = _marked(plain.special), _marked(product.special)


def read_comoments(limbs: Int64Array) -> list[Comoments]:
    """Return the sums again."""
    return [Comoments(*zip(*_sides(channel), strict=True)) for channel in limbs]


def _sides(channel: Int64Array) -> list[tuple[IntegerSum, IntegerSum, IntegerSum]]:
    unit, values, _ = scale = scale_of(channel)
    up = unit - scale.value_unit
    sides = []
    for row in channel:
        plain = _read(row[:values], up, int(row[-2]))
        size = _read(row[values : 2 * values], up, 0)
        product = _read(row[2 * values : -2], 0, int(row[-1]))
        sides.append((plain, IntegerSum(size.integer, abs(plain.special)), product))
    none = IntegerSum(0, 0.0)
    return sides if len(sides) == 2 else [*sides, (none, none, none)]  # noqa: PLR2004 - both


def _write(integer: int, out: Int64Array) -> None:
    """Write an integer; the last limb has the sign."""
    for k in range(len(out) - 1):
        out[k] = integer & ((1 << BITS) - 1)
        integer >>= BITS
    out[-1] = integer


def _read(limbs: Int64Array, up: int, marked: int) -> IntegerSum:
    integer = sum(int(limb) << (BITS * k) for k, limb in enumerate(limbs))
    return IntegerSum(integer << up, _special(marked))


def _marked(special: float) -> int:
    if special == 0.0:
        return 0
    return 1 << (2 * FIELD if math.isnan(special) else 0 if special > 0 else FIELD)


def _special(marked: int) -> float:
    mask = (1 << FIELD) - 1
    up, down, nan = marked & mask, marked >> FIELD & mask, marked >> 2 * FIELD
    if nan or (up and down):
        return math.nan
    return math.inf if up else -math.inf if down else 0.0

"""Integer sums as limbs, and back: the layout of _native/exact_limbs.hpp.

A limb is an int64 that holds 32 bits of a sum. So limbs of 2^31 parts of a batch can be added, each
for itself, and the result is that of the whole batch.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from backnorm.kernels._exact_results import Comoments
from backnorm.kernels._integers import UNIT, IntegerSum

if TYPE_CHECKING:
    from collections.abc import Iterable

    from backnorm._types import Int64Array

__all__ = [
    "BITS",
    "COMOMENT_LIMBS",
    "MOMENT_LIMBS",
    "PRODUCT_LIMBS",
    "VALUE_LIMBS",
    "VALUE_UNIT",
    "read_comoments",
    "read_moments",
    "write_comoments",
    "write_moments",
]

BITS: Final = 32
VALUE_UNIT: Final = 149
"""Sums of values count 2^-149, those of products 2^-UNIT."""
VALUE_LIMBS: Final = 10
PRODUCT_LIMBS: Final = 19
"""They hold 2^40 of the largest float32, or squares of it."""

MOMENT_LIMBS: Final = VALUE_LIMBS + PRODUCT_LIMBS + 1
"""Of a channel: the sum of x, the sum of x*x, what is not finite."""
COMOMENT_LIMBS: Final = 2 * VALUE_LIMBS + PRODUCT_LIMBS + 2
"""Of a side of a channel: the sums of dz, abs(dz) and dz*x; what is not finite of dz, of dz*x."""

FIELD: Final = 21
"""Bits in which parts are counted whose sum of what is not finite is infinity, -infinity or NaN."""


def write_moments(
    first: Iterable[IntegerSum], second: Iterable[IntegerSum], out: Int64Array
) -> None:
    """Write the sums of x and of x*x to out, shape (C, MOMENT_LIMBS)."""
    for limbs, a, b in zip(out, first, second, strict=True):
        _write(a.integer, VALUE_UNIT, limbs[:VALUE_LIMBS])
        _write(b.integer, UNIT, limbs[VALUE_LIMBS:-1])
        limbs[-1] = _marked(a.special)


def read_moments(limbs: Int64Array) -> list[tuple[IntegerSum, IntegerSum]]:
    """Return the sums again. Those of x*x count as finite: they matter where those of x are."""
    return [
        (
            _read(row[:VALUE_LIMBS], VALUE_UNIT, int(row[-1])),
            _read(row[VALUE_LIMBS:-1], UNIT, 0),
        )
        for row in limbs
    ]


def write_comoments(sums: Iterable[Comoments], out: Int64Array) -> None:
    """Write the sums of the backward pass to out, shape (C, sides, COMOMENT_LIMBS)."""
    for channel, of_channel in zip(out, sums, strict=True):
        for side, limbs in enumerate(channel):
            plain, size, product = (sides[side] for sides in of_channel)
            _write(plain.integer, VALUE_UNIT, limbs[:VALUE_LIMBS])
            _write(size.integer, VALUE_UNIT, limbs[VALUE_LIMBS : 2 * VALUE_LIMBS])
            _write(product.integer, UNIT, limbs[2 * VALUE_LIMBS : -2])
            limbs[-2:] = _marked(plain.special), _marked(product.special)


def read_comoments(limbs: Int64Array) -> list[Comoments]:
    """Return the sums again."""
    return [Comoments(*zip(*_sides(channel), strict=True)) for channel in limbs]


def _sides(channel: Int64Array) -> list[tuple[IntegerSum, IntegerSum, IntegerSum]]:
    sides = []
    for row in channel:
        plain = _read(row[:VALUE_LIMBS], VALUE_UNIT, int(row[-2]))
        size = _read(row[VALUE_LIMBS : 2 * VALUE_LIMBS], VALUE_UNIT, 0)
        product = _read(row[2 * VALUE_LIMBS : -2], UNIT, int(row[-1]))
        sides.append((plain, IntegerSum(size.integer, abs(plain.special)), product))
    none = IntegerSum(0, 0.0)
    return sides if len(sides) == 2 else [*sides, (none, none, none)]  # noqa: PLR2004 - both


def _write(integer: int, unit: int, out: Int64Array) -> None:
    """Write an integer, which counts 2^-UNIT; the last limb has the sign."""
    left = integer >> (UNIT - unit)
    for k in range(len(out) - 1):
        out[k] = left & ((1 << BITS) - 1)
        left >>= BITS
    out[-1] = left


def _read(limbs: Int64Array, unit: int, marked: int) -> IntegerSum:
    integer = sum(int(limb) << (BITS * k) for k, limb in enumerate(limbs))
    return IntegerSum(integer << (UNIT - unit), _special(marked))


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

"""Limbs of usual values in a fifth of the space: a window for each sum, placed by an earlier batch.

A window holds 92 bits of a sum of values, and 184 bits of a sum of products. It has room for the
number of values and for an outlier of 2^8 times their sum. What lies far below a usual value (2^-40
for 2^20 values) does not fit, nor does what is not finite; then the whole limbs are needed.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from backnorm.kernels import native_kernel
from backnorm.kernels._limbs import BITS, SINGLE

if TYPE_CHECKING:
    from backnorm._types import AnyArray, Float64Array, Int64Array

__all__ = [
    "COMOMENTS",
    "MOMENTS",
    "Window",
    "for_comoments",
    "for_moments",
    "narrowed",
    "size_of",
    "widened",
]

WINDOW_BITS: Final = 46
"""Of a limb in a window: those of 2^17 parts can be added."""
NARROW: Final = (2, 4)
"""Limbs in a window, of a sum of values and of products."""
ROOM: Final = 8
"""Bits above the number of usual values: batches vary. Twice as many of products."""
MOST_EXPONENT: Final = 130

VALUE_LIMBS: Final = SINGLE.value_limbs
_VALUES: Final = (VALUE_LIMBS, -SINGLE.value_unit, NARROW[0])
_PRODUCTS: Final = (SINGLE.product_limbs, -SINGLE.unit, NARROW[1])
MOMENTS: Final = np.array([(0, *_VALUES), (VALUE_LIMBS, *_PRODUCTS)], np.int64)
"""Where the sums stand among the limbs, and in how many limbs of which unit; see SumPlace."""
COMOMENTS: Final = np.array(
    [(0, *_VALUES), (VALUE_LIMBS, *_VALUES), (2 * VALUE_LIMBS, *_PRODUCTS)], np.int64
)


class Window(NamedTuple):
    """Where the windows of all sums begin.

    Attributes
    ----------
    places
        The sums of a row of limbs.
    low
        The exponent of the first bit, shape (rows, sums).
    """

    places: Int64Array
    low: Int64Array

    @property
    def digest(self) -> int:
        """A number of 20 bits that tells windows apart."""
        return zlib.crc32(self.low.tobytes()) & 0xFFFFF


def size_of(places: Int64Array) -> int:
    """Return how many limbs a row has in its windows."""
    return int(places[:, 3].sum())


def for_moments(statistics: Float64Array, n: int) -> Window:
    """Return the windows for batches like that of n values with these statistics."""
    top = _exponent(_size_of_x(statistics))
    return _window(MOMENTS, np.stack([top, 2 * top], axis=1), n)


def for_comoments(statistics: Float64Array, sums: Float64Array, n: int, sides: int) -> Window:
    """Return the windows for gradients like those of a batch of n values with these sums."""
    top = _exponent(sums[2] / n)
    product = top + _exponent(_size_of_x(statistics))
    low = np.stack([top, top, product], axis=1)
    return _window(COMOMENTS, np.repeat(low, sides, axis=0), n)


def narrowed(limbs: Int64Array, window: Window) -> Int64Array | None:
    """Return the limbs of shape (rows, limbs) in their windows, or None if one does not fit."""
    places, low = window
    begin = int(places[-1, 0] + places[-1, 1])
    if limbs[:, begin:].any():  # not finite
        return None
    out = np.empty((len(limbs), size_of(places)), np.int64)
    fits = native_kernel.narrow_limbs(limbs, places, low, out)
    if fits is None:
        fits = all(map(_narrow, limbs, low, out, [places] * len(out)))
    return out if fits else None


def widened(narrow: Int64Array, window: Window, like: Int64Array) -> Int64Array:
    """Return sums in windows as limbs again, of the shape of `like`."""
    limbs = np.zeros_like(like)
    if not native_kernel.wide_limbs(narrow, window.places, window.low, limbs):
        for row in zip(narrow, window.low, limbs, strict=True):
            _widen(*row, window.places)
    return limbs


def _window(places: Int64Array, top: Int64Array, n: int) -> Window:
    """Place windows around sums of n values or products of less than 2^top."""
    narrow = places[:, 3]
    room = n.bit_length() + ROOM * (narrow // NARROW[0])
    low = np.maximum(top + room - WINDOW_BITS * narrow, places[:, 2])
    return Window(places, np.ascontiguousarray(low))


def _size_of_x(statistics: Float64Array) -> Float64Array:
    mean, _, var, _ = statistics
    size: Float64Array = np.abs(mean) + np.sqrt(var)
    return size


def _exponent(size: Float64Array) -> Int64Array:
    """Return e with size < 2^e; of sizes that are 0 or not finite anything."""
    exponent = np.frexp(np.where(np.isfinite(size), size, 0.0))[1].astype(np.int64)
    return np.clip(exponent, -MOST_EXPONENT, MOST_EXPONENT)


def _narrow(limbs: Int64Array, low: Int64Array, out: Int64Array, places: AnyArray) -> bool:
    at = 0
    for (begin, count, exponent, narrow), first in zip(places.tolist(), low.tolist(), strict=True):
        whole = _integer(limbs[begin : begin + count], BITS)
        shift, bits = first - exponent, WINDOW_BITS * narrow
        left = whole >> shift
        if left << shift != whole or not -(1 << (bits - 1)) <= left < 1 << (bits - 1):
            return False
        _split(left, WINDOW_BITS, out[at : at + narrow])
        at += narrow
    return True


def _widen(row: Int64Array, low: Int64Array, limbs: Int64Array, places: AnyArray) -> None:
    at = 0
    for (begin, count, exponent, narrow), first in zip(places.tolist(), low.tolist(), strict=True):
        whole = _integer(row[at : at + narrow], WINDOW_BITS) << (first - exponent)
        _split(whole, BITS, limbs[begin : begin + count])
        at += narrow


def _integer(limbs: Int64Array, bits: int) -> int:
    return sum(int(limb) << (bits * k) for k, limb in enumerate(limbs))


def _split(integer: int, bits: int, out: Int64Array) -> None:
    for k in range(len(out) - 1):
        out[k] = integer & ((1 << bits) - 1)
        integer >>= bits
    out[-1] = integer

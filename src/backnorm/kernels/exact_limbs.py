"""Exact sums of parts of a batch, as limbs that are added, and what follows from their totals.

The kernels write the limbs of a part (`_contract`). Limbs of all parts are added as integers, in
any order and by anyone. From the totals follow the statistics and the sums of the whole batch, with
the bits of one call on the whole batch. Limbs of float64 are others, and many more; only the NumPy
kernel writes them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from backnorm.kernels import native_kernel
from backnorm.kernels._exact_results import store_comoments, store_moments
from backnorm.kernels._integers import IntegerSum
from backnorm.kernels._limbs import (
    BITS,
    DOUBLE,
    SINGLE,
    read_comoments,
    read_moments,
    scale_of,
    write_moments,
)
from backnorm.kernels.activations import ACTIVATIONS

if TYPE_CHECKING:
    from backnorm._types import Activation, Float64Array, Int64Array

__all__ = [
    "COMOMENT_WORDS",
    "MOMENT_WORDS",
    "are_double",
    "as_double",
    "carried",
    "for_comoments",
    "for_moments",
    "statistics_of",
    "sums_of",
]

MOMENT_WORDS: Final = 2 * (SINGLE.moment_limbs - 1) + 3
COMOMENT_WORDS: Final = 2 * (SINGLE.comoment_limbs - 2) + 6
"""How many words of 32 bits the limbs of a channel are in limb_words.hpp, or of one side of it."""


def for_moments(channels: int, *, double: bool = False) -> Int64Array:
    """Return limbs of no values, for the forward pass; with double for those of float64."""
    return np.zeros((channels, (DOUBLE if double else SINGLE).moment_limbs), np.int64)


def for_comoments(channels: int, activation: Activation, *, double: bool = False) -> Int64Array:
    """Return limbs of no values, for the backward pass; with double for those of float64."""
    sides = 2 if ACTIVATIONS[activation].has_slope else 1
    return np.zeros((channels, sides, (DOUBLE if double else SINGLE).comoment_limbs), np.int64)


def are_double(limbs: Int64Array) -> bool:
    """Whether limbs are those of float64."""
    return scale_of(limbs) is DOUBLE


def carried(limbs: Int64Array) -> Int64Array:
    """Return the sums of several parts of the forward pass with 32 bits in each limb again."""
    scale, out = scale_of(limbs), limbs.copy()
    for begin, end in ((0, scale.value_limbs), (scale.value_limbs, scale.moment_limbs - 1)):
        for k in range(begin, end - 1):
            out[:, k + 1] += out[:, k] >> BITS
            out[:, k] &= (1 << BITS) - 1
    return out


def as_double(limbs: Int64Array) -> Int64Array:
    """Return sums of the forward pass in the limbs of float64."""
    wide = for_moments(len(limbs), double=True)
    shift = DOUBLE.unit - SINGLE.unit
    sums = [
        [IntegerSum(s.integer << shift, s.special) for s in pair] for pair in read_moments(limbs)
    ]
    write_moments([first for first, _ in sums], [second for _, second in sums], wide)
    return wide


def statistics_of(limbs: Int64Array, n: int, eps: float, *, native: bool = True) -> Float64Array:
    """Return the statistics of n values a channel, rows as in `StatisticsRow`."""
    rows = np.empty((4, len(limbs)))
    native = native and not are_double(limbs)
    if not (native and native_kernel.limb_statistics(limbs, n, eps, rows)):
        with np.errstate(all="ignore"):
            store_moments(read_moments(limbs), n, eps, rows, scale_of(limbs).unit)
    return rows


def sums_of(
    limbs: Int64Array, statistics: Float64Array, slope: float, *, native: bool = True
) -> Float64Array:
    """Return dgamma, dbeta and the sum of abs(dz), shape (3, C)."""
    rows = np.empty((3, len(limbs)))
    native = native and not are_double(limbs)
    if not (native and native_kernel.limb_sums(limbs, statistics, slope, rows)):
        with np.errstate(all="ignore"):
            store_comoments(read_comoments(limbs), statistics, slope, rows, scale_of(limbs).unit)
    return rows

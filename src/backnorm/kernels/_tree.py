"""Sums of float64 in a fixed binary tree over the index of a value in its channel.

The index counts outer and inner positions, outer first. Each leaf adds `LEAF` neighbours one after
another, and neighbouring nodes are added in pairs. So the bits depend on neither threads nor
kernels, nor on whether channels are last in memory.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from backnorm._types import Float64Array

__all__ = ["tree_sum"]

LEAF: Final = 64


def tree_sum(values: Float64Array) -> Float64Array:
    """Return the sum of each channel of values, shape (outer, C, inner)."""
    outer, channels, inner = values.shape
    n = outer * inner
    leaves = max(1, -(-n // LEAF))
    padded = np.zeros((channels, leaves * LEAF))
    padded[:, :n] = values.transpose(1, 0, 2).reshape(channels, n)
    by_leaf = padded.reshape(channels, leaves, LEAF)
    sums = np.zeros((channels, leaves))
    for k in range(LEAF):
        sums = sums + by_leaf[:, :, k]
    while sums.shape[1] > 1:
        even = sums.shape[1] // 2 * 2
        pairs = sums[:, 0:even:2] + sums[:, 1:even:2]
        sums = np.concatenate([pairs, sums[:, even:]], axis=1)
    total: Float64Array = sums[:, 0]
    return total

"""The gradient of one channel, split into its paths: few enough numbers to draw and to store."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from backnorm.audit.record import ChannelParts

if TYPE_CHECKING:
    from collections.abc import Mapping

    from backnorm._types import Float64Array

__all__ = ["one_channel"]

DRAWN: Final = 48
"""Values of the row that are stored: on a phone each bar can still be told from the next."""

DIGITS: Final = 6
"""Digits that are stored: more than a drawing shows; a record with its parts takes some 2 kB."""


def one_channel(
    x: Float64Array, dx: Float64Array, paths: Mapping[str, Float64Array]
) -> ChannelParts:
    """Take the row with the largest direct path, at evenly spaced positions.

    Parameters
    ----------
    x, dx
        Rows of the input and of the gradient that the subject returned, shape (R, n).
    paths
        D, M and V by their names, same shape. M may be missing, for kinds without a mean, and is 0.

    Returns
    -------
    ChannelParts
        At most 48 values of one row.
    """
    row = int(np.argmax(np.linalg.norm(paths["direct"], axis=1)))
    at = np.linspace(0, x.shape[1] - 1, min(DRAWN, x.shape[1])).astype(int)
    nothing = np.zeros_like(x)
    values = (x, dx, *(paths.get(name, nothing) for name in ("direct", "mean", "variance")))
    return ChannelParts(*(tuple(_rounded(value) for value in rows[row, at]) for rows in values))


def _rounded(value: float) -> float:
    return float(f"{value:.{DIGITS}g}")

"""The gradient of one row of values in its parts: few enough numbers to be drawn and kept."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from backnorm.audit.record import Parts

if TYPE_CHECKING:
    from collections.abc import Mapping

    from backnorm._types import Float64Array

__all__ = ["one_channel"]

DRAWN: Final = 48
"""Values of the row that are kept: a bar for each can be told from the next on a phone."""

DIGITS: Final = 6
"""More than a drawing shows, and few enough that a record with its parts takes some 2 kB."""


def one_channel(x: Float64Array, dx: Float64Array, paths: Mapping[str, Float64Array]) -> Parts:
    """Take the row through which most passes, at evenly spaced places.

    Parameters
    ----------
    x, dx
        Rows of the input and of what came out as its gradient, shape (R, n).
    paths
        D, M and V by their names, same shape; a kind that has no mean has no M, which is 0.

    Returns
    -------
    Parts
        At most 48 values of one row.
    """
    row = int(np.argmax(np.linalg.norm(paths["direct"], axis=1)))
    at = np.linspace(0, x.shape[1] - 1, min(DRAWN, x.shape[1])).astype(int)
    nothing = np.zeros_like(x)
    values = (x, dx, *(paths.get(name, nothing) for name in ("direct", "mean", "variance")))
    return Parts(*(tuple(_rounded(value) for value in one[row, at]) for one in values))


def _rounded(value: float) -> float:
    return float(f"{value:.{DIGITS}g}")

"""The share of the batch in statistics that are neither the batch's nor constants.

Layers that normalize with a moving average, which the batch has just updated, use
(1 - share)*old + share*new. Each channel has its own old values, which are the same in all calls: a
straight line from the batch's statistics to those that were used has the slope `share`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from backnorm.audit.thresholds import COEFFICIENT_LIMIT, ROW_FIT_LIMIT

if TYPE_CHECKING:
    from collections.abc import Sequence

    from backnorm._types import Float64Array

__all__ = ["BlendShares", "share_in"]

ENOUGH: Final = 4
"""Calls that make a line in each channel: two fit any line, and three leave little to miss."""


@dataclass(frozen=True, slots=True)
class BlendShares:
    """The share of the batch in mean and variance; None where no share explains them."""

    mean: float | None = None
    variance: float | None = None

    def __str__(self) -> str:
        shares = {"mean": self.mean, "variance": self.variance}
        known = [f"{share:.3g} of the {name}" for name, share in shares.items() if share]
        return (
            "a blend of statistics, such as a moving average, of which "
            f"{' and '.join(known)} is computed from x"
        )

    def __bool__(self) -> bool:
        return bool(self.mean or self.variance)


def share_in(used: Sequence[Float64Array], own: Sequence[Sequence[Float64Array]]) -> float | None:
    """Fit used = share*own + constant, with a constant for each channel.

    Parameters
    ----------
    used
        What each call used, one value for each channel.
    own
        What the batches had; several if it may be computed in several ways.

    Returns
    -------
    float or None
        The share of the first way that explains what was used; 0 where the batch has no share, and
        None where no way explains it.
    """
    if len(used) < ENOUGH or len({values.shape for values in used}) > 1:
        return None
    y = _centred(used)
    for way in own:
        x = _centred(way)
        share = float(np.sum(x * y) / np.sum(x * x))
        left = np.abs(y - share * x).max()
        if left <= ROW_FIT_LIMIT * np.abs(y).max():
            return share if abs(share) > COEFFICIENT_LIMIT else 0.0
    return None


def _centred(calls: Sequence[Float64Array]) -> Float64Array:
    values = np.stack(calls)
    return np.asarray(values - values.mean(axis=0))

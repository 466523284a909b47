"""Whether y follows x in steps: then its derivative is 0 or infinite, and says nothing of dx."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Final

import numpy as np

from backnorm.audit.measure.inputs import draw_inputs
from backnorm.audit.thresholds import ROUGH_LIMIT

if TYPE_CHECKING:
    from collections.abc import Callable

    from backnorm._types import AnyArray, Float64Array
    from backnorm.audit.subject import Subject

__all__ = ["SMOOTH", "Staircase", "find_steps"]

MOVE: Final = {"float64": 2.0**-20, "float32": 2.0**-14}
"""How far x is moved, in standard deviations: far enough that a smooth y moves by more than its
rounding, so near that hardly any value of a rounded y does."""

FAR: Final = 2.0
"""How far x is moved to see which elements of y depend on x at all, in standard deviations."""

FOLLOWED: Final = 8
"""Elements of y that are followed to see whether they jump."""

LAST_HALVINGS: Final = 3
"""A y that jumps has no value between those at the two ends in so many of the last halvings."""

SAME: Final = 1e-3
"""Gaps between values of y are multiples of a step if they miss a multiple by this part of it:
float32 rounds values up to 8 beside a step of 1/256 to this."""


@dataclass(frozen=True, slots=True)
class Staircase:
    """How y follows x.

    Attributes
    ----------
    share
        Share of the elements of y that a small change of x does not move, among those that a large
        change moves.
    jumps
        Share of the followed elements that jump where they move.
    step
        The distance of the steps, if it is the same between all of them; None otherwise. [y]
    """

    share: float = 0.0
    jumps: float = 0.0
    step: float | None = None

    @property
    def found(self) -> bool:
        """Whether y follows x in steps. A clamp may leave nearly all of y still: it never jumps."""
        return min(self.share, self.jumps) > ROUGH_LIMIT

    def __str__(self) -> str:
        return "steps" if self.step is None else f"steps of {self.step:.3g}"


SMOOTH: Final = Staircase()


def find_steps(subject: Subject, dtype: str) -> Staircase:
    """Move x by little and by much, and see which elements of y move.

    Parameters
    ----------
    subject
        The black box; only its forward pass is used.
    dtype
        Dtype of the inputs.

    Returns
    -------
    Staircase
        What was seen. An activation that clips y leaves some elements where they are, or nearly
        all; rounding leaves all, and they jump from one value to the next.
    """
    rng = np.random.default_rng(0)  # the inputs of other measurements stay as they are
    inputs = draw_inputs(subject, rng, dtype, batch=5)
    direction = rng.choice([-1.0, 1.0], inputs.x.shape) * inputs.scale

    def moved(size: float) -> AnyArray:
        x = (inputs.x + size * direction).astype(inputs.x.dtype)
        return replace(inputs, x=x).forward(subject)

    def element(at: tuple[int, ...], size: float) -> float:
        return float(moved(size)[at])

    y = inputs.forward(subject)
    ends = [(end, moved(end)) for end in (FAR, -FAR)]
    depends = (ends[0][1] != y) | (ends[1][1] != y)
    if not depends.any():
        return SMOOTH
    little = MOVE.get(dtype, MOVE["float32"])
    share = float(np.mean((moved(little) == y)[depends]))
    if share <= ROUGH_LIMIT:
        return Staircase(share)
    jumps = []
    for at in map(tuple, rng.permutation(np.argwhere(depends))[:FOLLOWED]):
        far, _ = next(end for end in ends if end[1][at] != y[at])
        jumps.append(_jumps(partial(element, at), far, little))
    return Staircase(share, float(np.mean(jumps)), _step_of(y.astype(np.float64)))


def _jumps(value: Callable[[float], float], far: float, little: float) -> bool:
    """Halve the way between 0 and `far`, where values differ; tell whether y jumps there.

    Each time the half with the larger change is kept: in a continuous y its middle soon is between
    the values at its ends.
    """
    low, high = (0.0, value(0.0)), (far, value(far))
    whole = 0  # halvings in a row that met no value in between
    while abs(high[0] - low[0]) > little:
        at = (low[0] + high[0]) / 2
        middle = (at, value(at))
        whole = whole + 1 if middle[1] in (low[1], high[1]) else 0
        if abs(middle[1] - low[1]) >= abs(high[1] - middle[1]):
            high = middle
        else:
            low = middle
    return whole >= LAST_HALVINGS


def _step_of(y: Float64Array) -> float | None:
    """Return the smallest gap between values of y, if all gaps are multiples of it."""
    gaps = np.diff(np.unique(y))
    gaps = gaps[gaps > np.finfo(np.float32).eps * np.abs(y).max()]
    if not gaps.size:
        return None
    counts = gaps / gaps.min()
    return float(gaps.min()) if np.abs(counts - np.round(counts)).max() <= SAME else None

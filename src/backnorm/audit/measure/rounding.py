"""How much rounding is in a number that a subject computes, so that rounding is not called a kink.

Over a short way a smooth function is a parabola, and a kink is met hardly ever: what third
differences leave is rounding.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from backnorm.audit.thresholds import ROUNDING_ALLOWANCE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from backnorm._types import AnyArray, Float64Array

__all__ = ["hides", "rounding_at"]

SHORT: Final = 2.0**-8
"""The short way, in steps of the numerical derivative: x stays on its grid, exact in float32."""

DIRECTIONS: Final = 6
"""Random directions: the median over them ignores a kink in one of them."""

THIRD: Final = np.array([1.0, -3.0, 3.0, -1.0])
"""Weights of a third difference: it has sqrt(20) times the rounding of one number."""

BEND_GAIN: Final = 5.1
"""How much larger the rounding of the bend, `BEND` in derivative.py, is than that of a number."""

TYPICAL: Final = 0.6745
"""Median of the size of a normal variable, in standard deviations."""


def rounding_at(
    losses: Callable[[Sequence[AnyArray]], Iterable[float]], point: AnyArray, step: float
) -> float:
    """Return the standard deviation of the rounding of a function of an array, near a point.

    Parameters
    ----------
    losses
        The function, of several arguments at once.
    point
        Its argument.
    step
        Step of the numerical derivative.

    Returns
    -------
    float
        In the unit of the loss.
    """
    rng, moved = np.random.default_rng(0), []
    for _ in range(DIRECTIONS):
        signs = rng.choice([-1.0, 1.0], point.shape)
        moved += [(point + k * SHORT * step * signs).astype(point.dtype) for k in range(4)]
    numbers = np.array(list(losses(moved))).reshape(DIRECTIONS, len(THIRD))
    found = np.abs(numbers @ THIRD)
    return float(np.median(found)) / (TYPICAL * float(np.sqrt(np.sum(THIRD**2))))


def hides(deviation: Float64Array, rounding: float, step: float) -> AnyArray:
    """Tell where a deviation from a smooth curve is no larger than rounding makes it.

    Parameters
    ----------
    deviation
        The bend, or the difference of two formulas of the derivative.
    rounding
        Of one number, from `rounding_at`.
    step
        Step of the numerical derivative.

    Returns
    -------
    array of bool
        Whether rounding explains it.
    """
    return np.asarray(deviation <= ROUNDING_ALLOWANCE * BEND_GAIN * rounding / step)

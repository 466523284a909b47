"""The slope of a number along directions, by central differences, beside what it should be."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from backnorm.audit.measure.derivative import BEND, FOURTH, SIXTH, STEP
from backnorm.audit.thresholds import GRADIENT_LIMIT, SMOOTH_LIMIT

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from backnorm._types import AnyArray
    from backnorm.audit.measure.derivative import Resolution
    from backnorm.audit.measure.inputs import Draw

__all__ = ["Slopes", "slopes"]

DIRECTIONS: Final = 3
"""Random directions for each argument: one would do, but for kinks that lie on its way."""

STEPS: Final = np.arange(1.0, 4.0)
"""How many steps are taken to either side."""


@dataclass(frozen=True, slots=True)
class Slopes:
    """A gradient beside slopes along random directions.

    Attributes
    ----------
    errors
        Largest difference by each argument, relative to the size of the gradient by it; only
        those arguments which have a smooth direction.
    kinked
        How many directions met a kink or a jump, so that there is no slope.
    """

    errors: Mapping[str, float]
    kinked: int


def slopes(
    number: Callable[[Draw], float],
    gradient: Mapping[str, AnyArray],
    one: Draw,
    *,
    floor: float,
    fineness: Resolution,
    rng: np.random.Generator,
    names: Sequence[str] = ("x", "gamma", "beta", "dy"),
) -> Slopes:
    """Compare the gradient of a number by x, gamma, beta and dy with its slopes.

    Parameters
    ----------
    number
        What is differentiated: a function of an input.
    gradient
        Its gradient, by name of the argument. What is left out counts as 0.
    one
        The input.
    floor
        Size that the gradient by x usually has: what rounding is compared with where it vanishes.
        [number]/[x]
    fineness
        Whether the number follows its arguments in float64.
    rng
        Where directions come from.
    names
        The arguments.

    Returns
    -------
    Slopes
        How far apart they are.

    Notes
    -----
    Cost: six calls of `number` for each of three directions and each argument, and one more.
    """
    at_rest, errors, kinked = number(one), {}, 0
    for name in names:
        point: AnyArray | None = getattr(one, name)
        if point is None:
            continue
        unit = one.scale if name == "x" else 1.0
        got = np.zeros(point.shape) if gradient.get(name) is None else gradient[name]
        seen = [
            _along(number, one, name, at_rest=at_rest, step=STEP[fineness] * unit, rng=rng)
            for _ in range(DIRECTIONS)
        ]
        usual = floor * one.scale / unit
        pairs = [(w, slope) for w, slope, bend in seen if _is_smooth(bend, slope, usual, fineness)]
        kinked += len(seen) - len(pairs)
        if pairs:
            errors[name] = _worst(np.asarray(got, np.float64), pairs, usual)
    return Slopes(errors, kinked)


def _along(
    number: Callable[[Draw], float],
    one: Draw,
    name: str,
    *,
    at_rest: float,
    step: float,
    rng: np.random.Generator,
) -> tuple[AnyArray, float, float]:
    """Draw a direction; return it, the slope along it, and how far that is from being smooth."""
    point: AnyArray = getattr(one, name)
    # Rounded to few digits, so that x + step*direction is exact in float32, too.
    direction = np.round(rng.standard_normal(point.shape) * 16) / 16
    numbers = []
    for k in (1, 2, 3, -1, -2, -3):
        changed: dict[str, Any] = {name: (point + k * step * direction).astype(point.dtype)}
        numbers.append(number(replace(one, **changed)))
    above, below, distances = np.array(numbers[:3]), np.array(numbers[3:]), 2 * step * STEPS
    seen = np.concatenate([(above - below) / distances, (above - 2 * at_rest + below) / step])
    fourth, sixth, bend = (float(seen @ weights) for weights in (FOURTH, SIXTH, BEND))
    return direction, sixth, max(abs(fourth - sixth), abs(bend))


def _is_smooth(bend: float, slope: float, usual: float, fineness: Resolution) -> bool:
    return bend <= SMOOTH_LIMIT * GRADIENT_LIMIT[fineness] * max(usual, abs(slope))


def _worst(got: AnyArray, pairs: list[tuple[AnyArray, float]], usual: float) -> float:
    size = max(usual, float(np.linalg.norm(got)), *(abs(slope) for _, slope in pairs))
    off = max(abs(float(np.sum(got * direction)) - slope) for direction, slope in pairs)
    return off / size if size else off

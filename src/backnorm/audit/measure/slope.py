"""The slope of a number along random directions, by central differences, beside its gradient."""

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
    from backnorm.audit.measure.inputs import Inputs

__all__ = ["Slopes", "slopes"]

DIRECTIONS: Final = 3
"""Random directions for each argument: one is enough unless it meets a kink."""

STEPS: Final = np.arange(1.0, 4.0)
"""Distances to either side, in steps."""


@dataclass(frozen=True, slots=True)
class Slopes:
    """A gradient beside slopes along random directions.

    Attributes
    ----------
    errors
        Largest difference by each argument, relative to the size of the gradient by it. Arguments
        without a smooth direction are left out.
    kinked
        How many directions met a kink or a jump, where no slope exists.
    """

    errors: Mapping[str, float]
    kinked: int


def slopes(
    number: Callable[[Inputs], float],
    gradient: Mapping[str, AnyArray],
    inputs: Inputs,
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
        The function of the inputs that is differentiated.
    gradient
        Its gradient, by name of the argument. What is left out counts as 0.
    inputs
        Where it is differentiated.
    floor
        Usual size of the gradient by x: what rounding is compared with where the gradient vanishes.
        [number]/[x]
    fineness
        Whether the number follows its arguments in float64.
    rng
        Source of the directions.
    names
        The arguments.

    Returns
    -------
    Slopes
        How far the gradient is from the slopes.

    Notes
    -----
    Cost: six calls of `number` for each of three directions and each argument, and one more.
    """
    at_point, errors, kinked = number(inputs), {}, 0
    for name in names:
        point: AnyArray | None = getattr(inputs, name)
        if point is None:
            continue
        unit = inputs.scale if name == "x" else 1.0
        given = np.zeros(point.shape) if gradient.get(name) is None else gradient[name]
        measured = [
            _along(number, inputs, name, at_point=at_point, step=STEP[fineness] * unit, rng=rng)
            for _ in range(DIRECTIONS)
        ]
        usual = floor * inputs.scale / unit
        pairs = [
            (w, slope) for w, slope, bend in measured if _is_smooth(bend, slope, usual, fineness)
        ]
        kinked += len(measured) - len(pairs)
        if pairs:
            errors[name] = _worst(np.asarray(given, np.float64), pairs, usual)
    return Slopes(errors, kinked)


def _along(
    number: Callable[[Inputs], float],
    inputs: Inputs,
    name: str,
    *,
    at_point: float,
    step: float,
    rng: np.random.Generator,
) -> tuple[AnyArray, float, float]:
    """Draw a direction; return it, the slope along it, and how far the number is from smooth."""
    point: AnyArray = getattr(inputs, name)
    # Rounded to few digits, so that x + step*direction is exact in float32 too.
    direction = np.round(rng.standard_normal(point.shape) * 16) / 16
    numbers = []
    for k in (1, 2, 3, -1, -2, -3):
        changed: dict[str, Any] = {name: (point + k * step * direction).astype(point.dtype)}
        numbers.append(number(replace(inputs, **changed)))
    above, below, distances = np.array(numbers[:3]), np.array(numbers[3:]), 2 * step * STEPS
    measured = np.concatenate([(above - below) / distances, (above - 2 * at_point + below) / step])
    fourth, sixth, bend = (float(measured @ weights) for weights in (FOURTH, SIXTH, BEND))
    return direction, sixth, max(abs(fourth - sixth), abs(bend))


def _is_smooth(bend: float, slope: float, usual: float, fineness: Resolution) -> bool:
    return bend <= SMOOTH_LIMIT * GRADIENT_LIMIT[fineness] * max(usual, abs(slope))


def _worst(given: AnyArray, pairs: list[tuple[AnyArray, float]], usual: float) -> float:
    size = max(usual, float(np.linalg.norm(given)), *(abs(slope) for _, slope in pairs))
    difference = max(abs(float(np.sum(given * direction)) - slope) for direction, slope in pairs)
    return difference / size if size else difference

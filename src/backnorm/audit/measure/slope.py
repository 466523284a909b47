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
    numbers: Callable[[Sequence[Inputs]], Sequence[float]],
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
    numbers
        The function of the inputs that is differentiated, of many inputs at once: they do not
        depend on each other, so that a program far away gets them together.
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
    Cost: six numbers for each of three directions and each argument, and one more, in one call.
    """
    units = {name: inputs.scale if name == "x" else 1.0 for name in names}
    there = [name for name in names if getattr(inputs, name) is not None]
    lines = [
        _line(inputs, name, STEP[fineness] * units[name], rng)
        for name in there
        for _ in range(DIRECTIONS)
    ]
    found = iter(numbers([inputs, *(at for line in lines for at in line.points)]))
    at_point, errors, kinked = next(found), {}, 0
    along = [(line, [next(found) for _ in line.points]) for line in lines]
    for name in there:
        unit, given = units[name], gradient.get(name)
        if given is None:
            given = np.zeros(getattr(inputs, name).shape)
        measured = [line.measured(at_point, its) for line, its in along if line.name == name]
        usual = floor * inputs.scale / unit
        pairs = [
            (w, slope) for w, slope, bend in measured if _is_smooth(bend, slope, usual, fineness)
        ]
        kinked += len(measured) - len(pairs)
        if pairs:
            errors[name] = _worst(np.asarray(given, np.float64), pairs, usual)
    return Slopes(errors, kinked)


@dataclass(frozen=True, slots=True, eq=False)
class Line:
    """Points along a random direction of one argument, 1, 2 and 3 steps to either side."""

    name: str
    direction: AnyArray
    step: float
    points: tuple[Inputs, ...]

    def measured(self, at_point: float, found: Sequence[float]) -> tuple[AnyArray, float, float]:
        """Return the direction, the slope along it, and how far the number is from smooth."""
        above, below, distances = np.array(found[:3]), np.array(found[3:]), 2 * self.step * STEPS
        bends = (above - 2 * at_point + below) / self.step
        values = np.concatenate([(above - below) / distances, bends])
        fourth, sixth, bend = (float(values @ weights) for weights in (FOURTH, SIXTH, BEND))
        return self.direction, sixth, max(abs(fourth - sixth), abs(bend))


def _line(inputs: Inputs, name: str, step: float, rng: np.random.Generator) -> Line:
    """Draw a direction."""
    point: AnyArray = getattr(inputs, name)
    # Rounded to few digits, so that x + step*direction is exact in float32 too.
    direction = np.round(rng.standard_normal(point.shape) * 16) / 16
    moved = [(point + k * step * direction).astype(point.dtype) for k in (1, 2, 3, -1, -2, -3)]
    changed: list[dict[str, Any]] = [{name: value} for value in moved]
    return Line(name, direction, step, tuple(replace(inputs, **one) for one in changed))


def _is_smooth(bend: float, slope: float, usual: float, fineness: Resolution) -> bool:
    return bend <= SMOOTH_LIMIT * GRADIENT_LIMIT[fineness] * max(usual, abs(slope))


def _worst(given: AnyArray, pairs: list[tuple[AnyArray, float]], usual: float) -> float:
    size = max(usual, float(np.linalg.norm(given)), *(abs(slope) for _, slope in pairs))
    difference = max(abs(float(np.sum(given * direction)) - slope) for direction, slope in pairs)
    return difference / size if size else difference

"""The derivative of a subject's own forward pass, by numbers alone, and how far its gradient is.

No forward law is assumed here: whatever the subject computes is differentiated.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

import numpy as np

from backnorm.audit.measure.inputs import draw
from backnorm.audit.record import Errors
from backnorm.audit.thresholds import (
    COARSE_STEP,
    FINE_RESOLUTION,
    FINE_STEP,
    GRADIENT_LIMIT,
    SMOOTH_LIMIT,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from backnorm._types import AnyArray, Float64Array
    from backnorm.audit.measure.inputs import Draw
    from backnorm.audit.subject import Subject

__all__ = ["Comparison", "Resolution", "compare", "compare_one", "direct_size", "resolution"]

Resolution: TypeAlias = Literal["fine", "coarse"]

PROBES: Final = ((5, 1.0), (2, 1.0), (3, 2.0**-8))
"""Batch size and standard deviation of x; in the last, eps of 1e-5 weighs as much as the variance,
so that a gradient for another eps shows."""

FOURTH: Final = np.array([4 / 3, -1 / 3, 0, 0, 0, 0])
SIXTH: Final = np.array([3 / 2, -3 / 5, 1 / 10, 0, 0, 0])
"""What slopes over 1, 2, 3 steps weigh in differences of fourth and of sixth order."""

BEND: Final = np.array([0, 0, 0, 5 / 2, -1, 1 / 6])
"""What bends over 1, 2, 3 steps weigh so that a smooth curve gives 0 and a kink at the point itself
gives the jump of its slope: central differences cannot see that one."""

STEP: Final = {"fine": FINE_STEP, "coarse": COARSE_STEP}


_TINY: Final = float(np.finfo(np.float64).tiny)


@dataclass(frozen=True, slots=True)
class Comparison:
    """The gradient beside the numerical derivative.

    Attributes
    ----------
    errors
        Largest differences, relative to the size of the gradient; y is None here.
    resolution
        Whether the subject computes finely enough for a small step.
    skipped
        Share of the elements at which y has a kink, so that there is no derivative.
    unrepeated
        Largest difference of y between two calls on the same input, relative to y.
    """

    errors: Errors
    resolution: Resolution
    skipped: float
    unrepeated: float


def compare(subject: Subject, rng: np.random.Generator, dtype: str) -> Comparison:
    """Compare dx, dgamma and dbeta with the derivative of the subject's forward pass.

    Parameters
    ----------
    subject
        The black box.
    rng
        Where the draws come from.
    dtype
        Format of the draws.

    Returns
    -------
    Comparison
        The largest errors over all draws.

    Notes
    -----
    Cost: six forward passes for each element of a small input.
    """
    fineness = resolution(subject, rng, dtype)
    draws = [draw(subject, rng, dtype, batch=b, scale=scale) for b, scale in PROBES]
    each = [compare_one(subject, one, fineness) for one in draws]
    errors = [one.errors for one in each]
    return Comparison(
        Errors(
            dx=_worst([e.dx for e in errors]),
            dgamma=_worst([e.dgamma for e in errors]),
            dbeta=_worst([e.dbeta for e in errors]),
        ),
        fineness,
        max(one.skipped for one in each),
        max(one.unrepeated for one in each),
    )


def resolution(subject: Subject, rng: np.random.Generator, dtype: str) -> Resolution:
    """Tell whether y follows x in float64, or in steps of float32 whatever the format says."""
    if dtype != "float64":
        return "coarse"
    one = draw(subject, rng, dtype, batch=5)
    move = 1e-6 * one.scale * rng.standard_normal(one.x.shape)
    y0, y1, y2 = (
        replace(one, x=one.x + k * move).forward(subject).astype(np.float64) for k in (0, 1, 2)
    )
    noise = np.abs(y0 - 2 * y1 + y2).max() / max(float(np.abs(y1).max()), _TINY)
    return "fine" if noise < FINE_RESOLUTION else "coarse"


def _worst(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return max(known) if known else None


def compare_one(subject: Subject, one: Draw, fineness: Resolution) -> Comparison:
    """Compare the gradient on one input with the derivative, where y follows x so finely."""
    run = one.run(subject)
    again = one.forward(subject).astype(np.float64)
    size = direct_size(one, run.y)
    dx, smooth = _differentiate(subject, one, "x", fineness, size)
    errors = Errors(
        dx=_error(run.dx, dx, smooth, max(size, _largest(dx))),
        dgamma=_parameter_error(subject, one, "gamma", run.dgamma, fineness),
        dbeta=_parameter_error(subject, one, "beta", run.dbeta, fineness),
    )
    unrepeated = _largest(again - run.y) / max(_largest(again), _TINY)
    return Comparison(errors, fineness, 1.0 - float(np.mean(smooth)), unrepeated)


def direct_size(one: Draw, y: AnyArray) -> float:
    """Size of the direct path: what dx is compared with, even where dx itself nearly vanishes."""
    x = one.geometry.rows(one.x)
    varied = np.ptp(x, axis=1) > 0
    x, y_rows = x[varied], one.geometry.rows(y)[varied]
    if not len(x):
        return 0.0
    slope = np.std(y_rows, axis=1) / np.maximum(np.std(x, axis=1), _TINY)
    return float(np.sqrt(np.mean(slope**2) * np.mean(np.square(one.dy, dtype=np.float64))))


def _parameter_error(
    subject: Subject, one: Draw, name: str, got: AnyArray | None, fineness: Resolution
) -> float | None:
    """Error of dgamma or dbeta; None for a parameter that the subject has not."""
    parameter: AnyArray | None = getattr(one, name)
    if parameter is None:
        return None
    value = np.zeros(parameter.shape) if got is None else got
    # The size of a sum of this many values of random sign: the sum itself may nearly vanish.
    dy = one.dy.astype(np.float64)
    size = float(np.sqrt(np.mean(dy**2) * dy.size / parameter.size))
    want, smooth = _differentiate(subject, one, name, fineness, size)
    return _error(value, want, smooth, max(size, _largest(want)))


def _differentiate(
    subject: Subject, one: Draw, name: str, fineness: Resolution, size: float
) -> tuple[Float64Array, AnyArray]:
    """Derivative of sum(y*dy) by one of x, gamma, beta, and where it exists."""
    point: AnyArray = getattr(one, name)
    dy = one.dy.astype(np.float64)
    step = STEP[fineness] * (one.scale if name == "x" else 1.0)

    def loss(value: AnyArray) -> float:
        changed: dict[str, Any] = {name: value}
        y = replace(one, **changed).forward(subject)
        return float(np.sum(y.astype(np.float64) * dy))

    at_rest = loss(point)
    seen = np.array([_probe(loss, point, i, step, at_rest) for i in np.ndindex(point.shape)])
    fourth, sixth, bend = (seen @ weights for weights in (FOURTH, SIXTH, BEND))
    limit = SMOOTH_LIMIT * GRADIENT_LIMIT[fineness] * max(size, _largest(sixth))
    smooth = np.maximum(np.abs(fourth - sixth), np.abs(bend)) <= limit
    return sixth.reshape(point.shape), smooth.reshape(point.shape)


def _probe(
    loss: Callable[[AnyArray], float],
    point: AnyArray,
    index: tuple[int, ...],
    step: float,
    at_rest: float,
) -> list[float]:
    """Slopes of the loss along one element over 1, 2, 3 steps to either side, then its bends."""
    slopes, bends = [], []
    for k in (1, 2, 3):
        up, down = point.copy(), point.copy()
        up[index] += k * step
        down[index] -= k * step
        above, below = loss(up), loss(down)
        # Where rounding moved the points, divide by the distance that they really have.
        slopes.append((above - below) / (float(up[index]) - float(down[index])))
        bends.append((above - 2 * at_rest + below) / step)
    return slopes + bends


def _error(got: AnyArray, want: Float64Array, smooth: AnyArray, size: float) -> float:
    off = np.abs(np.where(smooth, got.astype(np.float64) - want, 0.0))
    worst = float(off.max(initial=0.0))
    return worst / size if size else worst


def _largest(values: Float64Array) -> float:
    return float(np.abs(values).max(initial=0.0))

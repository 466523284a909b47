"""The numerical derivative of a subject's forward pass, and how far its gradient is from it.

No forward law is assumed here: whatever the subject computes is differentiated.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

import numpy as np

from backnorm.audit.measure.inputs import draw_inputs
from backnorm.audit.measure.rounding import hides, rounding_at
from backnorm.audit.measure.staircase import SMOOTH, Staircase, find_steps
from backnorm.audit.measure.wavering import (
    GRADIENTS,
    RUNS,
    beyond_wavering,
    gradient_of,
    wavering_of,
)
from backnorm.audit.record import Errors
from backnorm.audit.thresholds import (
    COARSE_STEP,
    FEW_VALUES,
    FINE_RESOLUTION,
    FINE_STEP,
    GRADIENT_LIMIT,
    ROUGH_LIMIT,
    ROUNDING_ALLOWANCE,
    SMOOTH_LIMIT,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from backnorm._types import AnyArray, Float64Array
    from backnorm.audit.measure.inputs import Inputs
    from backnorm.audit.subject import Subject
    from backnorm.audit.subjects.runner import Run

__all__ = ["Comparison", "Resolution", "compare", "compare_one", "direct_size", "resolution"]

Resolution: TypeAlias = Literal["fine", "coarse"]

TRIED: Final = ((5, 1.0), (2, 1.0), (3, 2.0**-8))
"""Batch size and standard deviation of x. In the last, an eps of 1e-5 weighs as much as the
variance, so that a gradient for another eps shows: with three samples, of which a blend of
statistics and a kink leave enough to see."""

FOURTH: Final = np.array([4 / 3, -1 / 3, 0, 0, 0, 0])
SIXTH: Final = np.array([3 / 2, -3 / 5, 1 / 10, 0, 0, 0])
"""Weights of the slopes over 1, 2, 3 steps in differences of fourth and of sixth order."""

BEND: Final = np.array([0, 0, 0, 5 / 2, -1, 1 / 6])
"""Weights of the bends over 1, 2, 3 steps. A smooth curve then gives 0, and a kink at the point
itself the jump of its slope: central differences alone cannot see such a kink."""

DRAWS: Final = 8
"""How often inputs are drawn until y moves with x."""

ROUNDING: Final = {"fine": 2.0**-52, "coarse": 2.0**-23}
"""How finely a subject computes."""

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
        Share of the elements at which no derivative was measured: y has a kink there, or its
        rounding hides the derivative.
    kinked
        Share of the elements at which y has a kink: it bends by more than its rounding.
    unrepeated
        Largest difference of y between calls on the same input, relative to y.
    responding
        Largest share, over the inputs, of the elements of x by which y has a derivative that is not
        0.
    staircase
        Whether y follows x in steps.
    wavering
        Largest differences of the gradients between calls on the same input, relative to the same
        sizes as the errors; y is None here.
    by_pass
        Whether y differs between forward passes with and without a backward pass alone.
    """

    errors: Errors
    resolution: Resolution
    skipped: float
    kinked: float
    unrepeated: float
    responding: float
    staircase: Staircase = SMOOTH
    wavering: Errors = field(default_factory=Errors)
    by_pass: bool = False

    @property
    def certain(self) -> Errors:
        """What of the errors is more than gradients differ by from call to call."""
        return beyond_wavering(self.errors, self.wavering)

    @property
    def responds(self) -> bool:
        """Whether y follows x at enough elements to say anything of dx."""
        return self.responding > 1 - ROUGH_LIMIT


def compare(subject: Subject, rng: np.random.Generator, dtype: str) -> Comparison:
    """Compare dx, dgamma and dbeta with the derivative of the subject's forward pass.

    Parameters
    ----------
    subject
        The black box.
    rng
        Source of the random inputs.
    dtype
        Dtype of the inputs.

    Returns
    -------
    Comparison
        The largest errors over all inputs.

    Notes
    -----
    Cost: six forward passes for each element of a small input, and four more.
    """
    fineness = resolution(subject, rng, dtype)
    drawn = [_draw(subject, rng, dtype, b, scale) for b, scale in TRIED]
    comparisons = [compare_one(subject, inputs, fineness) for inputs in drawn]
    return Comparison(
        _worst_of([comparison.errors for comparison in comparisons]),
        fineness,
        max(comparison.skipped for comparison in comparisons),
        max(comparison.kinked for comparison in comparisons),
        max(comparison.unrepeated for comparison in comparisons),
        max(comparison.responding for comparison in comparisons),
        find_steps(subject, dtype),
        _worst_of([comparison.wavering for comparison in comparisons]),
        any(comparison.by_pass for comparison in comparisons),
    )


def _draw(
    subject: Subject, rng: np.random.Generator, dtype: str, batch: int, scale: float
) -> Inputs:
    """Draw inputs at which y can be differentiated by x, as far as a few draws find such.

    A clamp behind constant statistics may hold nearly all of y still.
    """
    for _ in range(DRAWS):
        inputs = draw_inputs(subject, rng, dtype, batch=batch, scale=scale)
        if _may_meet(inputs, dtype):
            continue
        near = (inputs.x + COARSE_STEP * scale * inputs.dy).astype(inputs.x.dtype)
        moves = replace(inputs, x=near).forward(subject) != inputs.forward(subject)
        if np.mean(moves) > 1 - ROUGH_LIMIT:
            break
    return inputs


def _may_meet(inputs: Inputs, dtype: str) -> bool:
    """Whether a step may make the two values of a row equal: without eps y is NaN there."""
    rows = inputs.geometry.rows(inputs.x)
    reach = len(FOURTH) // 2 * STEP["fine" if dtype == "float64" else "coarse"] * inputs.scale
    return rows.shape[1] == FEW_VALUES and bool((np.ptp(rows, axis=1) <= reach).any())


def resolution(subject: Subject, rng: np.random.Generator, dtype: str) -> Resolution:
    """Tell whether y follows x in float64, or in steps of float32 whatever its dtype is."""
    if dtype != "float64":
        return "coarse"
    inputs = draw_inputs(subject, rng, dtype, batch=5)
    move = 1e-6 * inputs.scale * rng.standard_normal(inputs.x.shape)
    y0, y1, y2 = (
        replace(inputs, x=inputs.x + k * move).forward(subject).astype(np.float64)
        for k in (0, 1, 2)
    )
    noise = np.abs(y0 - 2 * y1 + y2).max() / max(float(np.abs(y1).max()), _TINY)
    return "fine" if noise < FINE_RESOLUTION else "coarse"


def _worst_of(errors: Sequence[Errors]) -> Errors:
    return Errors(**{name: _worst([getattr(e, name) for e in errors]) for name in GRADIENTS})


def _worst(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return max(known) if known else None


def compare_one(subject: Subject, inputs: Inputs, fineness: Resolution) -> Comparison:
    """Compare the gradient with the derivative for one call, where y follows x so finely."""
    run, *others = (inputs.run(subject) for _ in range(RUNS))
    again = inputs.forward(subject).astype(np.float64)
    size = max(direct_size(inputs, run.y), _rounding_size(inputs, run.y, fineness))
    by_x, size = _differentiate(subject, inputs, "x", run.dx, size=size, fineness=fineness)
    dgamma = _by_parameter(subject, inputs, "gamma", run.dgamma, fineness)
    dbeta = _by_parameter(subject, inputs, "beta", run.dbeta, fineness)
    found = {"dx": (by_x, size), "dgamma": dgamma, "dbeta": dbeta}
    errors = Errors(**{name: _error_of(run, name, one) for name, one in found.items()})
    apart = {name: _apart(run, others, name, one) for name, one in found.items()}
    apart_y = max(_largest(again - one.y) for one in (run, *others))
    by_pass = apart_y > 0 and all(np.array_equal(run.y, one.y) for one in others)
    unrepeated = apart_y / max(_largest(again), _TINY)
    skipped, kinked = 1.0 - float(np.mean(by_x.smooth)), float(np.mean(by_x.kinked))
    responding = float(np.mean(by_x.values != 0))
    return Comparison(
        errors,
        fineness,
        skipped,
        kinked,
        unrepeated,
        responding,
        wavering=Errors(**apart),
        by_pass=by_pass,
    )


def direct_size(inputs: Inputs, y: AnyArray) -> float:
    """Return the size of the direct path, which errors of dx are relative to.

    dx itself may nearly vanish.
    """
    x = inputs.geometry.rows(inputs.x)
    varied = np.ptp(x, axis=1) > 0
    x, y_rows = x[varied], inputs.geometry.rows(y)[varied]
    if not len(x):
        return 0.0
    slope = np.std(y_rows, axis=1) / np.maximum(np.std(x, axis=1), _TINY)
    return float(np.sqrt(np.mean(slope**2) * np.mean(np.square(inputs.dy, dtype=np.float64))))


def _rounding_size(inputs: Inputs, y: AnyArray, fineness: Resolution) -> float:
    """Return the size of a derivative whose limit is the rounding of y over a step.

    A y that is the same at every x, as of two values without eps, has a derivative of 0 and a dx of
    rounding: relative to each other they would be wrong.
    """
    step = STEP[fineness] * inputs.scale * GRADIENT_LIMIT[fineness]
    change = ROUNDING_ALLOWANCE * ROUNDING[fineness] * _largest(y.astype(np.float64))
    return change * _largest(inputs.dy.astype(np.float64)) / step


def _by_parameter(
    subject: Subject, inputs: Inputs, name: str, gradient: AnyArray | None, fineness: Resolution
) -> tuple[Derivative, float] | None:
    """Return the derivative by gamma or beta and the size of it; None where there is none."""
    parameter: AnyArray | None = getattr(inputs, name)
    if parameter is None:
        return None
    value = np.zeros(parameter.shape) if gradient is None else gradient
    # The size of a sum of this many values of random sign: the sum itself may nearly vanish.
    dy = inputs.dy.astype(np.float64)
    size = float(np.sqrt(np.mean(dy**2) * dy.size / parameter.size))
    return _differentiate(subject, inputs, name, value, size=size, fineness=fineness)


def _error_of(run: Run, name: str, found: tuple[Derivative, float] | None) -> float | None:
    """Return the largest error of a gradient."""
    if found is None:
        return None
    derivative, size = found
    gradient = gradient_of(run, name, derivative.values.shape)
    return _largest(derivative.error(gradient, size))


def _apart(
    run: Run, others: Sequence[Run], name: str, found: tuple[Derivative, float] | None
) -> float | None:
    """Return by how much a gradient differs from call to call, relative to what its error is."""
    if found is None:
        return None
    derivative, size = found
    apart = wavering_of(name, run, others, derivative.values.shape)
    return _largest(np.where(derivative.smooth, apart, 0.0)) / (size or 1.0)


@dataclass(frozen=True, slots=True, eq=False)
class Derivative:
    """The derivative by each element, where it was measured, and where y has a kink."""

    values: Float64Array
    smooth: AnyArray
    kinked: AnyArray

    def error(self, gradient: AnyArray, size: float) -> Float64Array:
        """Return by how much a gradient differs, relative to a size; 0 where y is not smooth."""
        difference = np.abs(gradient.astype(np.float64) - self.values)
        return np.where(self.smooth, difference, 0.0) / (size or 1.0)


def _differentiate(
    subject: Subject,
    inputs: Inputs,
    name: str,
    gradient: AnyArray,
    *,
    size: float,
    fineness: Resolution,
) -> tuple[Derivative, float]:
    """Return the derivative of sum(y*dy) by x, gamma or beta, and what errors are relative to.

    A path that crosses several kinks may look smooth. Where the gradient seems wrong, half the step
    must say so too; otherwise the element counts as a kink.
    """
    found = _at_step(subject, inputs, name, fineness, size, share=1.0)
    size = max(size, _largest(found.values))
    beyond = found.error(gradient, size) > GRADIENT_LIMIT[fineness]
    if beyond.any():
        half = _at_step(subject, inputs, name, fineness, size, share=0.5)
        confirmed = half.error(gradient, size) > GRADIENT_LIMIT[fineness]
        missed = beyond & (half.kinked | half.smooth & ~confirmed)
        found = Derivative(found.values, found.smooth & ~missed, found.kinked | missed)
    return found, size


def _at_step(
    subject: Subject, inputs: Inputs, name: str, fineness: Resolution, size: float, *, share: float
) -> Derivative:
    """Return the derivative over a share of the usual step."""
    point: AnyArray = getattr(inputs, name)
    dy = inputs.dy.astype(np.float64)
    step = share * STEP[fineness] * (inputs.scale if name == "x" else 1.0)

    def losses(values: Sequence[AnyArray]) -> Iterator[float]:
        usual = {"x": inputs.x, "gamma": inputs.gamma, "beta": inputs.beta}
        given: list[dict[str, Any]] = [{**usual, name: value} for value in values]
        outputs = subject.forwards([(one["x"], one["gamma"], one["beta"]) for one in given])
        return (float(np.sum(y.astype(np.float64) * dy)) for y in outputs)

    points = [_around(point, i, step) for i in np.ndindex(point.shape)]
    found = losses([point, *(value for around in points for pair in around for value in pair)])
    at_point = next(found)
    differences = np.array(
        [
            _differences(around, [next(found) for _ in range(2 * len(around))], i, step, at_point)
            for i, around in zip(np.ndindex(point.shape), points, strict=True)
        ]
    )
    fourth, sixth, bend = (differences @ weights for weights in (FOURTH, SIXTH, BEND))
    limit = SMOOTH_LIMIT * GRADIENT_LIMIT[fineness] * max(size, _largest(sixth))
    deviation = np.maximum(np.abs(fourth - sixth), np.abs(bend)).reshape(point.shape)
    rough = deviation > limit
    kinked = rough
    if rough.any():
        kinked = rough & ~hides(deviation, rounding_at(losses, point, step), step)
    return Derivative(sixth.reshape(point.shape), ~rough, kinked)


def _around(
    point: AnyArray, index: tuple[int, ...], step: float
) -> list[tuple[AnyArray, AnyArray]]:
    """Return the points that one element is 1, 2, 3 steps above and below."""
    pairs = []
    for k in (1, 2, 3):
        up, down = point.copy(), point.copy()
        up[index] += k * step
        down[index] -= k * step
        pairs.append((up, down))
    return pairs


def _differences(
    around: Sequence[tuple[AnyArray, AnyArray]],
    losses: Sequence[float],
    index: tuple[int, ...],
    step: float,
    at_point: float,
) -> list[float]:
    """Return slopes of the loss by one element over 1, 2, 3 steps to either side, then bends."""
    slopes, bends = [], []
    for (up, down), above, below in zip(around, losses[::2], losses[1::2], strict=True):
        # Where rounding moved the points, divide by the distance that they really have.
        slopes.append((above - below) / (float(up[index]) - float(down[index])))
        bends.append((above - 2 * at_point + below) / step)
    return slopes + bends


def _largest(values: Float64Array) -> float:
    return float(np.abs(values).max(initial=0.0))

"""The gradients of the parameters beside gamma and beta, compared with what y does as they move.

gamma and beta have their own measurement, by each element, in `backnorm.audit.measure.derivative`.
`backnorm.torch.model.parameters` says why the parameters of a layer in a model are not measured
here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from backnorm.audit.measure.derivative import BEND, FOURTH, ROUNDING, SIXTH, STEP
from backnorm.audit.measure.inputs import draw_inputs
from backnorm.audit.subject import told
from backnorm.audit.thresholds import GRADIENT_LIMIT, ROUGH_LIMIT, ROUNDING_ALLOWANCE, SMOOTH_LIMIT

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from backnorm._types import AnyArray, Float64Array
    from backnorm.audit.measure.derivative import Resolution
    from backnorm.audit.measure.inputs import Inputs
    from backnorm.audit.subject import Subject
    from backnorm.audit.subjects.runner import Others

__all__ = ["errors_of_others"]

BATCH: Final = 4

DRAWS: Final = 2
"""How many directions and inputs must say that a gradient is wrong."""


def errors_of_others(
    subject: Subject, rng: np.random.Generator, dtype: str, fineness: Resolution
) -> dict[str, float | None]:
    """Return the error of the gradient by each parameter beside gamma and beta, by its name.

    Parameters
    ----------
    subject
        The black box.
    rng
        Source of the random inputs and directions.
    dtype
        Dtype of the inputs.
    fineness
        Whether the subject computes finely enough for a small step.

    Returns
    -------
    dict of str to float or None
        Relative to the derivative; None for a parameter that y does not follow, or not smoothly.

    Notes
    -----
    A parameter moves along a random direction v; by finite differences y then moves by d = J v.
    With dy = d the gradient g must give g v = d d, whatever the size of the parameter is.

    Cost: seven forward passes and a backward pass for each of these parameters, and a forward pass;
    twice as many for one that is wrong.
    """
    if "others" not in subject.runner.can:
        return {}
    found: dict[str, float] = {}
    values: Mapping[str, AnyArray] = {}
    for _ in range(DRAWS):
        inputs = draw_inputs(subject, rng, dtype, batch=BATCH)
        values = _called(subject, inputs, None, {}).values
        names = [n for n in values if found.get(n, np.inf) > GRADIENT_LIMIT[fineness]]
        drawn = {name: _direction(values[name], rng) for name in names}
        errors = {name: _error(subject, inputs, drawn[name], name, fineness) for name in names}
        found |= {n: min(e, found.get(n, e)) for n, e in errors.items() if e is not None}
    return {name: found.get(name) for name in values}


def _direction(value: AnyArray, rng: np.random.Generator) -> Float64Array:
    """Return a direction with no value near 0, of the size of a parameter."""
    size = float(np.abs(value).max(initial=0.0)) or 1.0
    signs = rng.choice([-1.0, 1.0], value.shape)
    return np.asarray(rng.uniform(0.5, 1.5, value.shape) * signs * size)


def _error(
    subject: Subject, inputs: Inputs, along: Float64Array, name: str, fineness: Resolution
) -> float | None:
    """Return the error of one gradient along one direction; None where y does not tell it."""

    def y_at(steps: float) -> Float64Array:
        moved = {name: (steps * STEP[fineness] * along).astype(inputs.x.dtype)}
        return _called(subject, inputs, None, moved).y.astype(np.float64)

    d = _change(y_at, fineness)
    if d is None:
        return None
    found = _called(subject, inputs, d.astype(inputs.dy.dtype), {}).gradients.get(name)
    share = 0.0 if found is None else float(np.sum(found.astype(np.float64) * along))
    return abs(share / float(np.sum(d * d)) - 1)


def _change(y_at: Callable[[float], Float64Array], fineness: Resolution) -> Float64Array | None:
    """Return the derivative of y along the direction, 0 where y is not smooth."""
    step = float(STEP[fineness])
    here = y_at(0)
    ends = [(y_at(k), y_at(-k)) for k in (1, 2, 3)]
    slopes = [(up - down) / (2 * k * step) for k, (up, down) in enumerate(ends, start=1)]
    differences = np.stack(slopes + [(up + down - 2 * here) / step for up, down in ends], axis=-1)
    fourth, sixth, bend = (differences @ weights for weights in (FOURTH, SIXTH, BEND))
    largest = float(np.abs(sixth).max(initial=0.0))
    rounding = ROUNDING_ALLOWANCE * ROUNDING[fineness] * float(np.abs(here).max(initial=0.0))
    if not rounding < GRADIENT_LIMIT[fineness] * largest * step < np.inf:
        return None  # y does not follow the parameter, or by no more than its rounding
    limit = SMOOTH_LIMIT * GRADIENT_LIMIT[fineness] * largest
    smooth = np.maximum(np.abs(fourth - sixth), np.abs(bend)) < limit
    followed = smooth & (np.abs(sixth) > limit)
    if np.sum(followed) <= (1 - ROUGH_LIMIT) * sixth.size and not smooth.all():
        return None
    return np.where(smooth, sixth, 0.0)


def _called(
    subject: Subject, inputs: Inputs, dy: AnyArray | None, moved: dict[str, AnyArray]
) -> Others:
    with told(subject.name):
        return subject.runner.others(inputs.x, inputs.gamma, inputs.beta, dy, moved)

"""By how much gradients differ between calls on the same input, beside the errors that they have.

Kernels that add in the order in which their threads end, that race, or that read memory before it
is written give another gradient in each call. What two calls differ by is no fault that a formula
explains: only what is left of an error beyond it is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from backnorm.audit.record import Errors

if TYPE_CHECKING:
    from collections.abc import Sequence

    from backnorm._types import AnyArray, Float64Array, Shape
    from backnorm.audit.subjects.runner import Run

__all__ = ["GRADIENTS", "RUNS", "beyond_wavering", "gradient_of", "largest_wavering", "wavering_of"]

GRADIENTS: Final = ("dx", "dgamma", "dbeta")

RUNS: Final = 3
"""How often the gradient of one input is asked for."""


def gradient_of(run: Run, name: str, shape: Shape) -> AnyArray:
    """Return a gradient of a call; zeros where there is none."""
    gradient: AnyArray | None = getattr(run, name)
    return np.zeros(shape) if gradient is None else gradient


def wavering_of(name: str, run: Run, others: Sequence[Run], shape: Shape) -> Float64Array:
    """Return the largest difference of a gradient between a call and others, by element."""
    first = gradient_of(run, name, shape).astype(np.float64)
    apart = [np.abs(gradient_of(one, name, shape) - first) for one in others]
    return np.asarray(np.max(apart, axis=0))


def beyond_wavering(errors: Errors, wavering: Errors) -> Errors:
    """Return what is left of errors beyond what the calls differ by."""
    left = {}
    for name in GRADIENTS:
        error, apart = getattr(errors, name), getattr(wavering, name)
        left[name] = None if error is None else max(error - (apart or 0.0), 0.0)
    return Errors(**left)


def largest_wavering(wavering: Errors) -> tuple[str, float]:
    """Return the gradient that differs most between calls, and by how much."""
    found = [(name, getattr(wavering, name) or 0.0) for name in GRADIENTS]
    return max(found, key=lambda one: one[1])

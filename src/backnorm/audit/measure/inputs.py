"""Random inputs that make faults visible."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from backnorm._types import AnyArray, Float64Array, Shape
    from backnorm.audit.kinds import Geometry
    from backnorm.audit.subject import Subject
    from backnorm.audit.subjects.runner import Run

__all__ = ["Inputs", "draw_inputs"]

GRID = 2.0**12
"""x is rounded to this grid, so that x and x + step are exact in float32 as well."""


@dataclass(frozen=True, slots=True, eq=False)
class Inputs:
    """What one call of a subject receives: x, dy and the parameters, in one dtype.

    Attributes
    ----------
    geometry
        How x is split into rows.
    scale
        Typical standard deviation of x, a power of two. [x]
    x, dy
        Input and incoming gradient; shape of ``geometry.shape``.
    gamma, beta
        Parameters; None where the subject has none.
    """

    geometry: Geometry
    scale: float
    x: AnyArray
    dy: AnyArray
    gamma: AnyArray | None
    beta: AnyArray | None

    def forward(self, subject: Subject) -> AnyArray:
        """Return the subject's y."""
        return subject.forward(self.x, self.gamma, self.beta)

    def run(self, subject: Subject) -> Run:
        """Return the subject's y and gradients."""
        return subject.run(self.x, self.gamma, self.beta, self.dy)


def draw_inputs(
    subject: Subject,
    rng: np.random.Generator,
    dtype: str,
    *,
    batch: int,
    scale: float = 1.0,
    groups: int | None = None,
) -> Inputs:
    """Draw the inputs of one call.

    Each row has its own mean, 3 to 6 standard deviations from zero: some gradients are right at
    mean 0 only. dy has a mean and is correlated with x, so that the paths through the mean and the
    variance are as large as the direct path. gamma has both signs.
    """
    geometry = subject.geometry(batch, groups)
    z = geometry.rows(rng.standard_normal(geometry.shape))
    gamma = _signed(rng, subject.parameter_shape) if subject.has_gamma else None
    beta = rng.standard_normal(subject.parameter_shape) if subject.has_beta else None
    std = rng.uniform(0.5, 2.0, (len(z), 1))
    mean = std * _far(rng, (len(z), 1), 3.0, 6.0)
    x = np.round((mean + std * z) * GRID) / GRID * scale
    along = _far(rng, (len(z), 1), 0.5, 1.5) + _far(rng, (len(z), 1), 0.5, 1.5) * z
    dy = rng.standard_normal(z.shape) + np.sign(geometry.spread(gamma, 1.0)) * along
    return Inputs(
        geometry=geometry,
        scale=scale,
        x=_cast(geometry.from_rows(x), dtype),
        dy=_cast(geometry.from_rows(dy), dtype),
        gamma=None if gamma is None else _cast(gamma, dtype),
        beta=None if beta is None else _cast(beta, dtype),
    )


def _far(rng: np.random.Generator, shape: Shape, low: float, high: float) -> Float64Array:
    """Random values between low and high, with random signs."""
    return np.asarray(rng.uniform(low, high, shape) * rng.choice([-1.0, 1.0], shape))


def _signed(rng: np.random.Generator, shape: Shape) -> Float64Array:
    """Random gamma of both signs; no value is near zero."""
    size = int(np.prod(shape))
    signs = rng.permutation(np.where(np.arange(size) % 2, -1.0, 1.0))
    return np.asarray(rng.uniform(0.5, 2.0, size) * signs).reshape(shape)


def _cast(array: Float64Array, dtype: str) -> AnyArray:
    """Round to float32, so that every dtype receives the same values, then convert."""
    return array.astype(np.float32).astype(dtype)

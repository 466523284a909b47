"""All probes of one subject: numbers, no opinion."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from backnorm.audit.measure.derivative import Comparison, compare
from backnorm.audit.measure.forward_law import Law, recover_law
from backnorm.audit.measure.paths import Fit, fit_paths

if TYPE_CHECKING:
    from backnorm.audit.subject import Subject

__all__ = ["Measurement", "measure"]


@dataclass(frozen=True, slots=True)
class Measurement:
    """What was measured in one format.

    Attributes
    ----------
    dtype
        The format.
    law
        Which statistics the forward pass uses.
    fit
        How much of each path is in dx.
    comparison
        The gradient beside the derivative of the forward pass.
    """

    dtype: str
    law: Law
    fit: Fit
    comparison: Comparison


def measure(subject: Subject, seed: int) -> tuple[Measurement, ...]:
    """Measure a subject in each of its formats, with the same draws for each."""
    return tuple(_measure_in(subject, dtype, seed) for dtype in subject.dtypes)


def _measure_in(subject: Subject, dtype: str, seed: int) -> Measurement:
    rng = np.random.default_rng(seed)
    law = recover_law(subject, rng, dtype)
    return Measurement(
        dtype, law, fit_paths(subject, law, rng, dtype), compare(subject, rng, dtype)
    )

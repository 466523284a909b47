"""All that is measured of a subject's gradient, in each dtype."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from backnorm.audit.measure.derivative import Comparison, compare
from backnorm.audit.measure.forward_law import ForwardLaw, recover_forward_law
from backnorm.audit.measure.own_scale import OwnScale, measure_own_scale
from backnorm.audit.measure.paths import PathFit, fit_paths
from backnorm.audit.thresholds import SCALE_FREE_LIMIT, SCALED_EPS

if TYPE_CHECKING:
    from backnorm.audit.subject import Subject

__all__ = ["Measurement", "measure"]


@dataclass(frozen=True, slots=True)
class Measurement:
    """What was measured in one dtype.

    Attributes
    ----------
    dtype
        The dtype.
    forward_law
        Which statistics the forward pass uses.
    path_fit
        How much of each path is in dx.
    comparison
        The gradient beside the derivative of the forward pass.
    own_scale
        What the scale of x changes.
    """

    dtype: str
    forward_law: ForwardLaw
    path_fit: PathFit
    comparison: Comparison
    own_scale: OwnScale


def measure(subject: Subject, seed: int) -> tuple[Measurement, ...]:
    """Measure a subject in each of its dtypes, with the same inputs for each."""
    return tuple(_measure_in(subject, dtype, seed) for dtype in subject.dtypes)


def _measure_in(subject: Subject, dtype: str, seed: int) -> Measurement:
    rng = np.random.default_rng(seed)
    law = recover_forward_law(subject, rng, dtype)
    # From numbers of its own: those of the others stay as they are without it.
    own_scale = measure_own_scale(subject, law, np.random.default_rng([seed, 1]), dtype)
    if own_scale.change < SCALE_FREE_LIMIT and own_scale.added > SCALED_EPS:
        # No fixed eps: as near as one may fit, digits would seem to be lost beside it.
        law = law.without_rule()
    return Measurement(
        dtype,
        law,
        fit_paths(subject, law, rng, dtype),
        compare(subject, rng, dtype),
        own_scale,
    )

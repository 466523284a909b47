"""All that is measured of a subject's gradient, in each dtype."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from backnorm.audit.measure.derivative import Comparison, compare
from backnorm.audit.measure.forward_law import ForwardLaw, recover_forward_law
from backnorm.audit.measure.inputs import draw_inputs
from backnorm.audit.measure.other_parameters import errors_of_others
from backnorm.audit.measure.own_scale import OwnScale, measure_own_scale
from backnorm.audit.measure.paths import PathFit, fit_paths
from backnorm.audit.subject import told
from backnorm.audit.thresholds import SCALE_FREE_LIMIT, SCALED_EPS
from backnorm.errors import SubjectError

if TYPE_CHECKING:
    from collections.abc import Mapping

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
    random
        Whether a call draws random numbers, which the runner holds fixed from call to call.
    others
        The errors of the gradients by the parameters beside gamma and beta, by their names; None
        where the gradient could not be compared.
    """

    dtype: str
    forward_law: ForwardLaw
    path_fit: PathFit
    comparison: Comparison
    own_scale: OwnScale
    random: bool = False
    others: Mapping[str, float | None] = field(default_factory=dict)


def measure(subject: Subject, seed: int) -> tuple[Measurement, ...]:
    """Measure a subject in each of its dtypes, with the same inputs for each."""
    return tuple(_measure_in(subject, dtype, seed) for dtype in subject.dtypes)


def _measure_in(subject: Subject, dtype: str, seed: int) -> Measurement:
    rng = np.random.default_rng(seed)
    law = recover_forward_law(subject, rng, dtype)
    # A separate generator: the numbers drawn for the other measurements do not depend on it.
    own_scale = measure_own_scale(subject, law, np.random.default_rng([seed, 1]), dtype)
    if own_scale.change < SCALE_FREE_LIMIT and own_scale.added > SCALED_EPS:
        # No fixed eps: as near as one may fit, digits would seem to be lost beside it.
        law = law.without_rule()
    paths, comparison = fit_paths(subject, law, rng, dtype), compare(subject, rng, dtype)
    others = errors_of_others(
        subject, np.random.default_rng([seed, 2]), dtype, comparison.resolution
    )
    random = _is_random(subject, dtype)
    return Measurement(dtype, law, paths, comparison, own_scale, random, others)


def _is_random(subject: Subject, dtype: str) -> bool:
    """Whether a call draws random numbers that the runner holds fixed."""
    if "traces" not in subject.runner.can:
        return False
    inputs = draw_inputs(subject, np.random.default_rng(0), dtype, batch=5)
    try:
        with told(subject.name):
            found = subject.runner.traces(inputs.x, inputs.gamma, inputs.beta, inputs.dy)
    except SubjectError:
        return False  # the probe of what a call leaves behind will say it
    return found.random

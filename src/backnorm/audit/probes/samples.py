"""Whether y of a sample depends on which samples are beside it, where it should not."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

import numpy as np

from backnorm.audit.findings import finding
from backnorm.audit.measure.inputs import draw_inputs
from backnorm.audit.probes.examination import failed, passed, skipped
from backnorm.audit.thresholds import LAYOUT_LIMIT
from backnorm.errors import SubjectError

if TYPE_CHECKING:
    from backnorm.audit.measure.inputs import Inputs
    from backnorm.audit.probes.examination import Examination, ProbeOutcome

__all__ = ["evaluates_each_sample"]

BATCH: Final = 8
PARTS: Final = (1, 2, 5)
"""Samples that are evaluated again alone: n/(n - 1) differs from that of the whole batch."""


def evaluates_each_sample(examination: Examination) -> ProbeOutcome:
    """Compare y of some samples, evaluated alone, with y of the same samples in a larger batch."""
    if examination.subject.call not in ("eval", "both"):
        return skipped("it is not set to evaluate")
    if examination.record.mode == "batch":
        return skipped("it normalizes with the batch's statistics")
    rng, dtype = examination.rng("samples"), examination.finest.dtype
    inputs = draw_inputs(examination.subject, rng, dtype, batch=BATCH)
    whole = inputs.forward(examination.subject).astype(np.float64)
    size = max(float(np.abs(whole).max()), float(np.finfo(np.float64).tiny))
    errors: dict[int, float] = {}
    for count in PARTS:
        try:
            part = _first(examination, inputs, count).forward(examination.subject)
        except SubjectError:
            continue  # it refuses so few samples
        errors[count] = float(np.abs(part.astype(np.float64) - whole[:count]).max()) / size
    limit = LAYOUT_LIMIT[examination.finest.comparison.resolution]
    wrong = {count: error for count, error in errors.items() if error > limit}
    if wrong:
        words = ", ".join(f"by {error:.0e} with {n} of {BATCH}" for n, error in wrong.items())
        what = f"y of the same samples differs {words} samples"
        return failed(what, finding("S07", what))
    if not errors:
        return skipped(f"it refuses a part of a batch of {BATCH} samples")
    return passed("y of a sample does not depend on the other samples")


def _first(examination: Examination, inputs: Inputs, count: int) -> Inputs:
    """Return the first samples of a batch."""
    geometry = examination.subject.geometry(count, examination.finest.forward_law.groups)
    return replace(inputs, geometry=geometry, x=inputs.x[:count], dy=inputs.dy[:count])

"""Whether y of a sample depends on which samples are beside it, where it should not."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

import numpy as np

from backnorm.audit.findings import finding
from backnorm.audit.measure.inputs import draw_inputs
from backnorm.audit.probes.examination import failed, passed, skipped
from backnorm.audit.thresholds import LAYOUT_LIMIT, REPEAT_LIMIT
from backnorm.errors import SubjectError
from backnorm.host.names import STATISTICS, state_role

if TYPE_CHECKING:
    from collections.abc import Iterable

    from backnorm._types import Float64Array
    from backnorm.audit.measure.inputs import Inputs
    from backnorm.audit.probes.examination import Examination, ProbeOutcome

__all__ = ["evaluates_each_sample"]

BATCH: Final = 8
PARTS: Final = (1, 2, 5)
"""Samples that are evaluated again alone: n/(n - 1) differs from that of the whole batch."""

FROM_X: Final = "its statistics are computed from x in evaluation too"


def evaluates_each_sample(examination: Examination) -> ProbeOutcome:
    """Compare y of some samples, evaluated alone, with y of the same samples in a larger batch."""
    if examination.subject.call not in ("eval", "both"):
        return skipped("it is not in evaluation mode")
    if examination.record.mode == "batch":
        return skipped(FROM_X)
    if examination.finest.comparison.unrepeated > REPEAT_LIMIT:
        return skipped("y differs from call to call")
    rng, dtype = examination.rng("samples"), examination.finest.dtype
    inputs = draw_inputs(examination.subject, rng, dtype, batch=BATCH)
    whole = _evaluated(examination, inputs)
    limit = LAYOUT_LIMIT[examination.finest.comparison.resolution]
    errors = {n: error for n in PARTS if (error := _error_of(examination, inputs, whole, n)) >= 0}
    wrong = {count: error for count, error in errors.items() if error > limit}
    if wrong:
        words = ", ".join(f"by {error:.0e} with {n} of {BATCH}" for n, error in wrong.items())
        what = f"y of the same samples differs {words} samples"
        intended = _intended(examination, inputs, whole, limit)
        return skipped(f"{what}: {intended}") if intended else failed(what, finding("S07", what))
    if not errors:
        return skipped(f"it refuses a part of a batch of {BATCH} samples")
    return passed("y of a sample does not depend on the other samples")


def _evaluated(examination: Examination, inputs: Inputs) -> Float64Array:
    return inputs.forward(examination.subject).astype(np.float64)


def _error_of(examination: Examination, inputs: Inputs, whole: Float64Array, count: int) -> float:
    """Return by how much y of the first samples alone differs; -1 if so few are refused."""
    geometry = examination.subject.geometry(count, examination.finest.forward_law.groups)
    part = replace(inputs, geometry=geometry, x=inputs.x[:count], dy=inputs.dy[:count])
    try:
        y = _evaluated(examination, part)
    except SubjectError:
        return -1.0
    return _difference(y, whole[:count], whole)


def _intended(examination: Examination, inputs: Inputs, whole: Float64Array, limit: float) -> str:
    """Return why y of a sample may depend on the batch; empty where it may not."""
    order = np.roll(np.arange(BATCH), 1)
    moved = _evaluated(examination, replace(inputs, x=inputs.x[order]))
    if _difference(moved, whole[order], whole) > limit:
        return "it treats samples by their position in the batch, as a mask or noise does"
    if any(state_role(name) in STATISTICS for name in _state(examination)):
        return ""
    half = BATCH // 2
    x = inputs.x.copy()
    x[half:] *= 2
    y = _evaluated(examination, replace(inputs, x=x))
    shared = _difference(y[:half], whole[:half], whole) > limit
    return "it keeps no running statistics that could take their place" if shared else ""


def _state(examination: Examination) -> Iterable[str]:
    runner = examination.subject.runner
    return runner.state() if "state" in runner.can else ()


def _difference(a: Float64Array, b: Float64Array, whole: Float64Array) -> float:
    size = max(float(np.abs(whole).max()), float(np.finfo(np.float64).tiny))
    return float(np.abs(a - b).max()) / size

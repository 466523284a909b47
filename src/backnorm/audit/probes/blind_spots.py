"""Blind spots: special inputs on which a wrong gradient is right, so that tests miss the fault."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from backnorm.audit.measure.derivative import compare_one
from backnorm.audit.measure.inputs import draw_inputs
from backnorm.audit.probes.examination import ProbeOutcome, passed, skipped
from backnorm.audit.probes.trials import quiet
from backnorm.audit.thresholds import GRADIENT_LIMIT
from backnorm.errors import BacknormError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from backnorm.audit.measure.derivative import Comparison, Resolution
    from backnorm.audit.measure.inputs import Inputs
    from backnorm.audit.probes.examination import Examination

__all__ = ["blind_spots"]


def blind_spots(examination: Examination) -> ProbeOutcome:
    """Name the special inputs on which a wrong gradient is right."""
    if examination.record.sound:
        return skipped("the gradient is right on usual inputs")
    wrong = next((m for m in examination.measurements if _is_wrong(m.comparison)), None)
    if wrong is None:
        return skipped("dx is right on usual inputs")
    inputs = draw_inputs(examination.subject, examination.rng("hidden"), wrong.dtype, batch=3)
    fineness = wrong.comparison.resolution
    with quiet():
        hiding = [
            name
            for name, special in _specials(inputs).items()
            if _hides(examination, special, fineness)
        ]
    if not hiding:
        return passed("the fault is visible with mean 0, with gamma = 1 and with dy = 1")
    names = " or ".join(hiding)
    note = f"The fault does not show with {names}. Test the gradient with random numbers instead."
    return replace(passed(f"dx is right with {names}"), notes=(note,))


def _specials(inputs: Inputs) -> Mapping[str, Inputs]:
    rows = inputs.geometry.rows(inputs.x)
    centred = inputs.geometry.from_rows(rows - rows.mean(axis=1, keepdims=True))
    specials = {
        "mean 0": replace(inputs, x=centred.astype(inputs.x.dtype)),
        "dy = 1": replace(inputs, dy=np.ones_like(inputs.dy)),
    }
    if inputs.gamma is not None:
        specials["gamma = 1"] = replace(inputs, gamma=np.ones_like(inputs.gamma))
    return specials


def _hides(examination: Examination, special: Inputs, fineness: Resolution) -> bool:
    try:
        error = compare_one(examination.subject, special, fineness).errors.dx
    except BacknormError:
        return False
    return error is not None and error <= GRADIENT_LIMIT[fineness]


def _is_wrong(comparison: Comparison) -> bool:
    error = comparison.errors.dx
    return error is not None and error > GRADIENT_LIMIT[comparison.resolution]

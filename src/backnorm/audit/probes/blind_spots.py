"""On which special inputs a wrong gradient is right: those that a test of it must not use."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from backnorm.audit.measure.derivative import compare_one
from backnorm.audit.measure.inputs import draw
from backnorm.audit.probes.case import Outcome, passed, skipped
from backnorm.audit.probes.trials import quiet
from backnorm.audit.thresholds import GRADIENT_LIMIT
from backnorm.errors import BacknormError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from backnorm.audit.measure.derivative import Comparison, Resolution
    from backnorm.audit.measure.inputs import Draw
    from backnorm.audit.probes.case import Case

__all__ = ["what_hides_it"]


def what_hides_it(case: Case) -> Outcome:
    """Name the special inputs on which a wrong gradient is right."""
    if case.record.sound:
        return skipped("the gradient is right on usual inputs")
    wrong = next((m for m in case.measurements if _is_wrong(m.comparison)), None)
    if wrong is None:
        return skipped("dx is right on usual inputs")
    one = draw(case.subject, case.rng("hidden"), wrong.dtype, batch=3)
    fineness = wrong.comparison.resolution
    with quiet():
        hiding = [
            name for name, special in _specials(one).items() if _hides(case, special, fineness)
        ]
    if not hiding:
        return passed("the fault is visible with mean 0, with gamma = 1 and with dy = 1")
    said = ", ".join(hiding)
    note = f"A test of the gradient must not use {said}, where dx is right."
    return replace(passed(f"dx is right with {said}"), notes=(note,))


def _specials(one: Draw) -> Mapping[str, Draw]:
    rows = one.geometry.rows(one.x)
    centred = one.geometry.from_rows(rows - rows.mean(axis=1, keepdims=True))
    found = {
        "mean 0": replace(one, x=centred.astype(one.x.dtype)),
        "dy = 1": replace(one, dy=np.ones_like(one.dy)),
    }
    if one.gamma is not None:
        found["gamma = 1"] = replace(one, gamma=np.ones_like(one.gamma))
    return found


def _hides(case: Case, special: Draw, fineness: Resolution) -> bool:
    try:
        error = compare_one(case.subject, special, fineness).errors.dx
    except BacknormError:
        return False
    return error is not None and error <= GRADIENT_LIMIT[fineness]


def _is_wrong(found: Comparison) -> bool:
    error = found.errors.dx
    return error is not None and error > GRADIENT_LIMIT[found.resolution]

"""Whether the gradient is right in later calls too, after the state has changed."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

import numpy as np

from backnorm.audit.measure.gradient import measure
from backnorm.audit.probes.examination import ProbeOutcome, impossible, passed, skipped
from backnorm.audit.probes.steps import (
    NOT_FOLLOWED,
    after,
    alike,
    as_step,
    compared,
    drawn_inputs,
    is_followed,
    with_runner,
)
from backnorm.audit.thresholds import COEFFICIENT_LIMIT
from backnorm.audit.verdict import judge

if TYPE_CHECKING:
    from collections.abc import Mapping

    from backnorm.audit.probes.examination import Examination
    from backnorm.audit.record import Record
    from backnorm.audit.subject import Subject

__all__ = ["later_calls"]

CALLS: Final = (1, 3, 30)
"""Training calls before the gradient is measured again: few change the state, many let it settle.
With constant statistics only the last number is used: there calls only change the constants."""

BATCH: Final = 5

WITNESSES: Final = (2, 5)
"""Batch sizes of the inputs that tell whether a later call differs from the first."""


def later_calls(examination: Examination) -> ProbeOutcome:
    """Measure the gradient again after some training calls."""
    if not is_followed(examination):
        return impossible(NOT_FOLLOWED)
    if not examination.record.sound:
        return skipped("the gradient is wrong, or was not judged, in the first call")
    drawn = drawn_inputs(examination, "later calls", [BATCH] * max(CALLS))
    steps = [as_step(inputs) for inputs in drawn]
    runner = examination.subject.runner
    records: dict[int, Record] = {}
    for calls in CALLS[-1:] if examination.record.mode == "frozen" else CALLS:
        subject = with_runner(examination, after(examination, runner, steps[:calls]))
        if _is_unchanged(examination, subject, calls):
            continue
        records[calls] = _judged(examination, subject)
        if not records[calls].sound:
            return _worse(records[calls], calls)
    return _right(examination, records)


def _is_unchanged(examination: Examination, later: Subject, calls: int) -> bool:
    """Whether y and all gradients are bitwise identical to a first call: no state enters."""
    drawn = drawn_inputs(examination, "witnesses", WITNESSES)
    pairs = [
        compared(examination, inputs.run, later, [BATCH] * calls + [len(inputs.x)])
        for inputs in drawn
    ]
    return all(alike(*pair) for pair in pairs)


def _judged(examination: Examination, subject: Subject) -> Record:
    finest = replace(subject, dtypes=subject.dtypes[-1:])
    return judge(
        finest, measure(finest, int(examination.rng("later").integers(np.iinfo(np.int32).max)))
    )


def _worse(record: Record, calls: int) -> ProbeOutcome:
    note = (
        f"The gradient is right in the first call and wrong after {_training(calls)}; the verdict "
        "is that on the later call."
    )
    verdict = replace(record, notes=(*record.notes, note))
    return ProbeOutcome("fail", f"the gradient is wrong after {_training(calls)}", verdict=verdict)


def _right(examination: Examination, records: Mapping[int, Record]) -> ProbeOutcome:
    if not records:
        return passed("y and the gradient do not depend on earlier calls")
    errors = ", ".join(f"dx {record.errors.dx:.0e} after {n}" for n, record in records.items())
    calls, last = list(records.items())[-1]
    outcome = passed(f"the gradient is right after training calls too; errors: {errors}")
    known = last.through != "unexplained"
    if last.mode == examination.record.mode and not (known and _other_shares(last, examination)):
        return outcome
    note = f"After {_training(calls)} it normalizes with {last.law}{_passed(last)}. This is right."
    return replace(outcome, notes=(note,))


def _other_shares(last: Record, examination: Examination) -> bool:
    """Whether a later call has other shares of the paths, as far as they are known."""
    pairs = [
        (getattr(last.coefficients, name), getattr(examination.record.coefficients, name))
        for name in ("direct", "mean", "variance")
    ]
    return any(
        p is not None and q is not None and abs(p - q) >= COEFFICIENT_LIMIT for p, q in pairs
    )


def _passed(record: Record) -> str:
    """Say which shares of the paths dx has, if they explain it."""
    shares = {name: getattr(record.coefficients, name) for name in ("mean", "variance")}
    parts = [
        f"{share:.3g} of the path through the {name}"
        for name, share in shares.items()
        if share is not None and abs(share) >= COEFFICIENT_LIMIT
    ]
    if not parts:
        return ""
    return f", and passes {' and '.join(parts)}"


def _training(calls: int) -> str:
    return f"{calls} training call{'s' if calls > 1 else ''}"

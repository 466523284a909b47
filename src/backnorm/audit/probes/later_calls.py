"""Whether the gradient is right in later calls too, where the state has moved."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

import numpy as np

from backnorm.audit.measure.gradient import measure
from backnorm.audit.probes.case import Outcome, impossible, passed, skipped
from backnorm.audit.probes.steps import (
    NOT_FOLLOWED,
    after,
    alike,
    as_step,
    draws_of,
    is_followed,
    with_runner,
)
from backnorm.audit.verdict import judge

if TYPE_CHECKING:
    from backnorm.audit.probes.case import Case
    from backnorm.audit.record import Record
    from backnorm.audit.subject import Subject

__all__ = ["later_calls"]

CALLS: Final = (1, 3, 30)
"""After so many training calls: state that differs from the first, and state that has settled. With
constant statistics only the last: there the calls before change no more than the constants."""

BATCH: Final = 5

WITNESSES: Final = (2, 5)
"""Batch sizes of the inputs that tell whether anything but the first call is to be measured."""


def later_calls(case: Case) -> Outcome:
    """Measure the gradient again after some training calls."""
    if not is_followed(case):
        return impossible(NOT_FOLLOWED)
    if not case.record.sound:
        return skipped("the gradient is wrong in the first call already")
    steps = [as_step(one) for one in draws_of(case, "later calls", [BATCH] * max(CALLS))]
    seen: list[tuple[int, Record]] = []
    for calls in CALLS[-1:] if case.record.mode == "frozen" else CALLS:
        subject = with_runner(case, after(case, case.subject.runner, steps[:calls]))
        if _does_the_same(case, subject):
            continue
        record = _judged(case, subject)
        if not record.sound:
            return _worse(record, calls)
        seen.append((calls, record))
    return _right(case, seen)


def _does_the_same(case: Case, later: Subject) -> bool:
    """Whether y and all gradients have the same bits as in a first call: no state enters."""
    draws = draws_of(case, "witnesses", WITNESSES)
    return all(alike(one.run(case.subject), one.run(later)) for one in draws)


def _judged(case: Case, subject: Subject) -> Record:
    finest = replace(subject, dtypes=subject.dtypes[-1:])
    return judge(finest, measure(finest, int(case.rng("later").integers(np.iinfo(np.int32).max))))


def _worse(record: Record, calls: int) -> Outcome:
    note = f"Right in the first call, and wrong after {_training(calls)}: the verdict is on that."
    verdict = replace(record, notes=(*record.notes, note))
    return Outcome("fail", f"wrong after {_training(calls)}", verdict=verdict)


def _right(case: Case, seen: list[tuple[int, Record]]) -> Outcome:
    if not seen:
        return passed("y and the gradient do not depend on what the calls before left")
    said = ", ".join(f"dx {record.errors.dx:.0e} after {calls}" for calls, record in seen)
    calls, last = seen[-1]
    outcome = passed(f"right after training calls too; errors: {said}")
    if last.mode == case.record.mode:
        return outcome
    passes = f", and {_passed(last)}" if last.through in ("both", "mean", "variance") else ""
    note = f"After {_training(calls)} it normalizes with {last.law}{passes}: that is right there."
    return replace(outcome, notes=(note,))


def _passed(record: Record) -> str:
    names = ("mean", "variance")
    shares = {name: getattr(record.coefficients, name) for name in names}
    said = [
        f"{share:.3g} of the path through the {name}" for name, share in shares.items() if share
    ]
    return "passes " + " and ".join(said)


def _training(calls: int) -> str:
    return f"{calls} training call{'s' if calls > 1 else ''}"

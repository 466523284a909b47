"""Whether repeated calls are bitwise identical: twice, and with one thread and with two."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from backnorm.audit.findings import finding
from backnorm.audit.measure.inputs import draw_inputs
from backnorm.audit.probes.examination import failed, impossible, passed, skipped
from backnorm.audit.subjects.runner import Run

if TYPE_CHECKING:
    from backnorm._types import AnyArray
    from backnorm.audit.probes.examination import Examination, ProbeOutcome
    from backnorm.audit.subject import Subject

__all__ = ["calls_repeat", "threads_repeat"]

BATCH: Final = 512
"""Samples: enough that frameworks that cut sums into parts do so."""


def calls_repeat(examination: Examination) -> ProbeOutcome:
    """Compare two calls bit by bit; a layer that draws random numbers is said to."""
    if _differs_anyway(examination):
        return skipped("two calls give different y (G16)")
    first, second = _runs(examination, examination.subject, examination.subject)
    differ = _differing(first, second)
    if differ:
        return failed(differ, finding("R01", differ))
    if examination.finest.random:
        what = "two calls with the same random numbers are bitwise identical"
        return failed(what, finding("R03", "random numbers drawn in each call"))
    return passed("two calls are bitwise identical")


def threads_repeat(examination: Examination) -> ProbeOutcome:
    """Compare a call with one thread and a call with two threads bit by bit."""
    if _differs_anyway(examination):
        return skipped("two calls give different y (G16)")
    runner = examination.subject.runner
    if "threads" not in runner.can:
        return impossible("the audit cannot choose its number of threads")
    pair = [replace(examination.subject, runner=runner.variant(threads=n)) for n in (1, 2)]
    differ = _differing(*_runs(examination, *pair))
    if differ:
        return failed(differ, finding("R02", differ))
    return passed("calls with 1 and 2 threads are bitwise identical")


def _differs_anyway(examination: Examination) -> bool:
    return any(f.code == "G16" for f in examination.record.findings)


def _runs(examination: Examination, *subjects: Subject) -> tuple[Run, ...]:
    subject, rng = examination.subject, examination.rng("repeated")
    inputs = draw_inputs(subject, rng, subject.dtypes[0], batch=BATCH)
    return tuple(inputs.run(subject) for subject in subjects)


def _differing(first: Run, second: Run) -> str:
    """Say which arrays differ, and in how many elements; empty if the runs are identical."""
    pairs = {name: (getattr(first, name), getattr(second, name)) for name in Run.__slots__}
    differences = [
        f"{name} in {count} of {a.size} elements"
        for name, (a, b) in pairs.items()
        if a is not None and b is not None and (count := _unlike(a, b))
    ]
    return ", ".join(differences)


def _unlike(a: AnyArray, b: AnyArray) -> int:
    return int((a != b).sum())

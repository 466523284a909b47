"""Whether the same call gives the same bits: twice, and with one thread and with two."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from backnorm.audit.findings import finding
from backnorm.audit.measure.inputs import draw
from backnorm.audit.probes.case import failed, impossible, passed, skipped
from backnorm.audit.subjects.runner import Run

if TYPE_CHECKING:
    from backnorm._types import AnyArray
    from backnorm.audit.probes.case import Case, Outcome
    from backnorm.audit.subject import Subject

__all__ = ["calls_repeat", "threads_repeat"]

BATCH = 512
"""Samples: enough that sums are cut into parts wherever a framework does so."""


def calls_repeat(case: Case) -> Outcome:
    """Compare the bits of two calls."""
    if _differs_anyway(case):
        return skipped("the gradient could not be judged, since y does not repeat itself (G16)")
    first, second = _runs(case, case.subject, case.subject)
    differ = _differing(first, second)
    if differ:
        return failed(differ, finding("R01", differ))
    return passed("two calls gave the same bits")


def threads_repeat(case: Case) -> Outcome:
    """Compare the bits with one thread and with two."""
    if _differs_anyway(case):
        return skipped("two calls with one thread differ already (G16)")
    runner = case.subject.runner
    if "threads" not in runner.can:
        return impossible("how many threads it uses cannot be chosen")
    pair = (replace(case.subject, runner=runner.variant(threads=n)) for n in (1, 2))
    differ = _differing(*_runs(case, *pair))
    if differ:
        return failed(differ, finding("R02", differ))
    return passed("1 and 2 threads gave the same bits")


def _differs_anyway(case: Case) -> bool:
    return any(found.code == "G16" for found in case.record.findings)


def _runs(case: Case, *subjects: Subject) -> tuple[Run, ...]:
    one = draw(case.subject, case.rng("repeated"), case.subject.dtypes[0], batch=BATCH)
    return tuple(one.run(subject) for subject in subjects)


def _differing(first: Run, second: Run) -> str:
    """Say which arrays differ in how many elements; empty if none does."""
    pairs = {name: (getattr(first, name), getattr(second, name)) for name in Run.__slots__}
    said = [
        f"{name} in {count} of {a.size} elements"
        for name, (a, b) in pairs.items()
        if a is not None and b is not None and (count := _unlike(a, b))
    ]
    return ", ".join(said)


def _unlike(a: AnyArray, b: AnyArray) -> int:
    return int((a != b).sum())

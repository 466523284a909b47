"""Whether repeated calls are bitwise identical: twice, and with one thread and with two."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from backnorm.audit.boxes import Variant, VariedBox
from backnorm.audit.findings import finding
from backnorm.audit.measure.inputs import draw
from backnorm.audit.probes.case import failed, passed, skipped
from backnorm.audit.subject import Run

if TYPE_CHECKING:
    from backnorm._types import AnyArray
    from backnorm.audit.probes.case import Case, Outcome
    from backnorm.audit.subject import Subject

__all__ = ["calls_repeat", "threads_repeat"]

BATCH = 512
"""Samples: enough that sums are cut into parts wherever a framework does so."""


def calls_repeat(case: Case) -> Outcome:
    """Compare two calls bit by bit."""
    if _differs_anyway(case):
        return skipped("two calls give different y (G16)")
    first, second = _runs(case, case.subject, case.subject)
    differ = _differing(first, second)
    if differ:
        return failed(differ, finding("R01", differ))
    return passed("two calls are bitwise identical")


def threads_repeat(case: Case) -> Outcome:
    """Compare a call with one thread and a call with two threads bit by bit."""
    if _differs_anyway(case):
        return skipped("two calls give different y (G16)")
    box = case.subject.box
    if not isinstance(box, VariedBox):
        return skipped("its adapter cannot choose the number of threads")
    one, two = box.variant(Variant(threads=1)), box.variant(Variant(threads=2))
    if one is None or two is None:
        return skipped("its adapter cannot choose the number of threads")
    pair = (replace(case.subject, box=b) for b in (one, two))
    differ = _differing(*_runs(case, *pair))
    if differ:
        return failed(differ, finding("R02", differ))
    return passed("calls with 1 and 2 threads are bitwise identical")


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

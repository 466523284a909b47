"""The course of an audit: from an object to the verdict on it."""

from __future__ import annotations

from dataclasses import replace
from time import perf_counter
from typing import TYPE_CHECKING, Final

from backnorm.audit.findings import fault
from backnorm.audit.measure.gradient import measure
from backnorm.audit.probes import run_probes
from backnorm.audit.probes.examination import Examination
from backnorm.audit.record import ProbeResult, Record
from backnorm.audit.subjects.registry import as_subject
from backnorm.audit.verdict import judge
from backnorm.errors import SubjectError

if TYPE_CHECKING:
    from collections.abc import Callable

    from backnorm.audit.kinds import Kind
    from backnorm.audit.record import Result
    from backnorm.audit.subject import Subject

__all__ = ["conduct", "faulty"]

GRADIENT: Final = "gradient"
"""Name of the first probe, which gives the verdict."""


def conduct(
    candidate: object,
    kind: Kind | None,
    axes: str,
    seed: int,
    *,
    quick: bool,
    at_work: Callable[[str], object],
) -> Record:
    """Audit an object; see `backnorm.audit`."""
    subject = as_subject(candidate, kind, axes=axes)
    at_work(GRADIENT)
    begin = perf_counter()
    try:
        measurements = measure(subject, seed)
    except SubjectError as error:
        return faulty(subject, error)
    record = judge(subject, measurements)
    record = replace(record, probes=(_gradient_result(record, perf_counter() - begin),))
    if quick:
        return record
    return run_probes(Examination(subject, measurements, record, seed), at_work)


def _gradient_result(record: Record, seconds: float) -> ProbeResult:
    """Return the verdict on the gradient as the result of the first probe."""
    names = ("dx", "dgamma", "dbeta")
    errors = [(name, getattr(record.errors, name)) for name in names]
    listed = ", ".join(f"{name} {error:.0e}" for name, error in errors if error is not None)
    what = record.not_judged or f"{record.law}; errors: {listed}"
    results: dict[bool | None, Result] = {True: "pass", False: "fail", None: "skipped"}
    return ProbeResult("P01", GRADIENT, results[record.sound], what, round(seconds, 4))


def faulty(subject: Subject, error: SubjectError) -> Record:
    """Return the record of a subject that could not be audited."""
    return Record(
        target=subject.name,
        kind=subject.kind,
        findings=(fault(error),),
        audited=False,
        expected=subject.expected,
    )

"""The course of an audit: from an object to the verdict on it."""

from __future__ import annotations

from dataclasses import replace
from time import perf_counter
from typing import TYPE_CHECKING, Final

from backnorm.audit.findings import fault
from backnorm.audit.measure.gradient import measure
from backnorm.audit.probes import examined
from backnorm.audit.probes.case import Case
from backnorm.audit.record import Probe, Record
from backnorm.audit.subjects.registry import as_subject
from backnorm.audit.verdict import judge
from backnorm.errors import SubjectError

if TYPE_CHECKING:
    from collections.abc import Callable

    from backnorm.audit.kinds import Kind
    from backnorm.audit.subject import Subject

__all__ = ["conduct", "faulty"]

GRADIENT: Final = "gradient"
"""Name of the first probe, which the verdict comes from."""


def conduct(
    candidate: object,
    kind: Kind | None,
    seed: int,
    *,
    quick: bool,
    at_work: Callable[[str], object],
) -> Record:
    """Audit an object; see `backnorm.audit`."""
    subject = as_subject(candidate, kind)
    at_work(GRADIENT)
    begin = perf_counter()
    try:
        measurements = measure(subject, seed)
    except SubjectError as error:
        return faulty(subject, error)
    record = judge(subject, measurements)
    record = replace(record, probes=(_of_gradient(record, perf_counter() - begin),))
    return record if quick else examined(Case(subject, measurements, record, seed), at_work)


def _of_gradient(record: Record, seconds: float) -> Probe:
    """Return what the verdict is made of as a probe among others."""
    names = ("dx", "dgamma", "dbeta")
    errors = [(name, getattr(record.errors, name)) for name in names]
    said = ", ".join(f"{name} {error:.0e}" for name, error in errors if error is not None)
    what = f"{record.law}; errors: {said}"
    return Probe("P01", GRADIENT, "pass" if record.sound else "fail", what, round(seconds, 4))


def faulty(subject: Subject, error: SubjectError) -> Record:
    """Return the record of a subject that could not be audited."""
    return Record(
        target=subject.name,
        kind=subject.kind,
        findings=(fault(error),),
        audited=False,
        expected=subject.expected,
    )

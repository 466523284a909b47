"""The course of an audit: from an object to the verdict on it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from backnorm.audit.findings import fault
from backnorm.audit.probes import measure
from backnorm.audit.record import Record
from backnorm.audit.registry import as_subject
from backnorm.audit.verdict import judge
from backnorm.errors import SubjectError

if TYPE_CHECKING:
    from backnorm.audit.kinds import Kind
    from backnorm.audit.subject import Subject

__all__ = ["conduct", "faulty"]


def conduct(candidate: object, kind: Kind | None, seed: int) -> Record:
    """Audit an object; see `backnorm.audit`."""
    subject = as_subject(candidate, kind)
    try:
        return judge(subject, measure(subject, seed))
    except SubjectError as error:
        return faulty(subject, error)


def faulty(subject: Subject, error: SubjectError) -> Record:
    """Return the record of a subject that could not be audited."""
    return Record(
        target=subject.name,
        kind=subject.kind,
        findings=(fault(error),),
        audited=False,
        expected=subject.expected,
    )

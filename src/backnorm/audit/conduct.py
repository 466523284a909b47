"""The course of an audit: from an object to the verdict on it."""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from time import perf_counter
from typing import TYPE_CHECKING, Final

from backnorm.audit.findings import fault
from backnorm.audit.forward_only import judge_forward, laws_of, with_file_findings
from backnorm.audit.measure.gradient import measure
from backnorm.audit.probes import run_probes, without_the_others
from backnorm.audit.probes.examination import Examination
from backnorm.audit.record import ProbeResult, Record
from backnorm.audit.subjects.blame import blamed
from backnorm.audit.subjects.registry import as_subject
from backnorm.audit.verdict import judge

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from backnorm.audit.kinds import Kind
    from backnorm.audit.record import Result
    from backnorm.audit.subject import Subject
    from backnorm.errors import SubjectError

__all__ = ["GRADIENT", "conduct", "conduct_by_probes", "faulty"]

GRADIENT: Final = "gradient"
"""Name of the first probe, which gives the verdict."""


def conduct(
    candidate: object,
    kind: Kind | None,
    seed: int,
    *,
    axes: str = "",
    device: str = "",
    quick: bool,
    at_work: Callable[[str], object],
) -> Record:
    """Audit an object; see `backnorm.audit`."""
    subject = as_subject(candidate, kind, axes=axes, device=device)
    return deque(conduct_by_probes(subject, seed, quick=quick, at_work=at_work), maxlen=1)[0]


def conduct_by_probes(
    subject: Subject,
    seed: int = 0,
    *,
    quick: bool,
    at_work: Callable[[str], object],
    known: Record | None = None,
) -> Iterator[Record]:
    """Audit a subject step by step.

    Parameters
    ----------
    subject
        The black box.
    seed
        Seed of the random inputs.
    quick
        Whether to judge the gradient alone.
    at_work
        Called with the name of each probe when it begins.
    known
        The record so far of an audit that was interrupted: its verdict stands, and probes whose
        results it has are left out.

    Yields
    ------
    Record
        After the gradient, and after each probe, the record so far.
    """
    at_work(GRADIENT)
    begin = perf_counter()
    try:
        measurements = () if subject.forward_only else measure(subject, seed)
        laws = laws_of(subject, measurements, seed)
        record = judge(subject, measurements) if measurements else judge_forward(subject, laws)
        record = with_file_findings(subject, laws, record)
    except Exception as error:  # noqa: BLE001 - `blamed` tells whose it is
        blame = blamed(subject.name, error)
        why = f"the gradient could not be measured again: {blame.problem}"
        yield faulty(subject, blame) if known is None else without_the_others(known, why)
        return
    if known is None:
        known = replace(record, probes=(_gradient_result(record, perf_counter() - begin),))
        yield known
    if not quick:
        yield from run_probes(Examination(subject, measurements, known, seed, laws), at_work)


def _gradient_result(record: Record, seconds: float) -> ProbeResult:
    """Return the verdict on the gradient as the result of the first probe."""
    names = ("dx", "dgamma", "dbeta")
    errors = [(name, getattr(record.errors, name)) for name in names]
    listed = ", ".join(f"{name} {error:.0e}" for name, error in errors if error is not None)
    what = record.not_judged or f"{record.law}; errors: {listed}"
    if record.forward_only:
        what = f"forward only, {record.law}: {record.forward_only}"
    results: dict[bool | None, Result] = {True: "pass", False: "fail", None: "skipped"}
    return ProbeResult("P01", GRADIENT, results[record.sound], what, round(seconds, 4))


def faulty(subject: Subject, error: SubjectError) -> Record:
    """Return the record of a subject that could not be audited."""
    return Record(
        target=subject.name,
        kind=subject.kind,
        findings=(fault(error),),
        audited=False,
        notes=subject.notes,
        expected=subject.expected,
    )

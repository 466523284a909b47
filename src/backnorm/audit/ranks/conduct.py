"""The course of an audit over several ranks: its probes are added to the record of one process."""

from __future__ import annotations

from dataclasses import replace
from time import perf_counter
from typing import TYPE_CHECKING, Final

from backnorm.audit.findings import finding
from backnorm.audit.probes import with_outcome
from backnorm.audit.probes.examination import skipped
from backnorm.audit.ranks.probes import RANK_PROBES
from backnorm.audit.record import AUDIT_ERROR

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from backnorm.audit.ranks.probes import RankExamination
    from backnorm.audit.record import Record

__all__ = ["over_ranks"]

NEEDED: Final = ("P70", "P71")
"""Probes without which nothing is known of several ranks."""

NOT_SYNCHRONIZED: Final = "it does not synchronize: each rank normalizes with its own values"


def over_ranks(
    examination: RankExamination, record: Record, at_work: Callable[[str], object]
) -> Iterator[Record]:
    """Run the probes of several ranks, and add what they find to a record.

    Parameters
    ----------
    examination
        The subject and its processes.
    record
        What is known of it in one process.
    at_work
        Called with the name of each probe when it begins.

    Yields
    ------
    Record
        After each probe the record so far, and at last the record with its verdict.
    """
    for probe in RANK_PROBES:
        at_work(probe.name)
        begin = perf_counter()
        try:
            outcome = probe.examine(examination)
        except Exception as error:  # noqa: BLE001 - one probe must not cost the others
            what = f"{type(error).__name__}: {error}"
            outcome = replace(
                skipped(f"audit error: {what}"),
                findings=(finding(AUDIT_ERROR, f"{probe.name}: {what}"),),
            )
        record = with_outcome(record, probe.code, probe.name, outcome, perf_counter() - begin)
        yield record
    yield _judged(record, examination.law)


def _judged(record: Record, law: str) -> Record:
    """Take back a yes that several ranks do not confirm."""
    wrong = any(found.code == "W07" for found in record.findings)
    if wrong and record.sound:
        return replace(record, sound=False)
    missing = [p for p in record.probes if p.code in NEEDED and p.result == "skipped"]
    if not record.sound or not missing:
        return record
    why = NOT_SYNCHRONIZED if law == "own" else f"over ranks, {missing[0].what}"
    if law not in ("", "own", "all"):
        why = "over ranks, its statistics are not those of all values"
    return replace(record, sound=None, not_judged=why)

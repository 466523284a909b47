"""What a report for a CI system says of a record: each finding, and that it was not judged."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final, Literal, NamedTuple, TypeAlias

from backnorm.errors.printable import printable
from backnorm.report._places import DefinedAt, fingerprint, place_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from backnorm.audit.record import Record

__all__ = ["FORWARD_ONLY", "NOT_JUDGED", "Failure", "failures_of"]

FORWARD_ONLY: Final = "forward-only"
"""The same where there is no gradient, which is a note."""

NOT_JUDGED: Final = "not-judged"
"""In the place of a code, where a gradient was not judged."""

Weight: TypeAlias = Literal["error", "note", "ignored"]


class Failure(NamedTuple):
    """A line of a report.

    Attributes
    ----------
    code
        Of the finding, or `NOT_JUDGED`, or `FORWARD_ONLY`.
    message
        What was found and what to do, on one line, after the target's name.
    weight
        Whether it is a reason to fail, a note, or ignored.
    ignored
        Why it is ignored; else empty.
    target
        The target's name.
    place
        Where it is defined.
    fingerprint
        What stays the same when lines move.
    """

    code: str
    message: str
    weight: Weight
    ignored: str
    target: str
    place: DefinedAt
    fingerprint: str


def failures_of(records: Iterable[Record]) -> Iterator[Failure]:
    """Yield what is to be said of records, in their order."""
    seen: Counter[tuple[str, str]] = Counter()
    for record in records:
        place, name = place_of(record.target), printable(record.target, one_line=True)
        lines: list[tuple[str, str, str, Weight]] = []
        if record.not_judged:
            lines.append((NOT_JUDGED, f"Not judged: {record.not_judged}.", "", "error"))
        if record.forward_only:
            words = f"Forward only, so that no gradient was judged: {record.forward_only}."
            lines.append((FORWARD_ONLY, words, "", "note"))
        for found in record.findings:
            weight: Weight = "error" if found.counts else "note"
            if found.ignored:
                weight = "ignored"
            lines.append((found.code, f"{found.what} {found.remedy}", found.ignored, weight))
        for code, words, ignored, weight in lines:
            message = printable(f"{name}: {' '.join(words.split())}", one_line=True)
            reason = printable(ignored, one_line=True)
            key = fingerprint(record.target, code, seen[record.target, code])
            seen[record.target, code] += 1
            yield Failure(code, message, weight, reason, name, place, key)

"""Records as annotations of GitHub: one workflow command for each target with findings.

An annotation is read in a list beside others, so it says what was found and what to do. The table
of the same audit, or ``backnorm explain CODE``, says more.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from backnorm.errors.printable import printable
from backnorm.report._places import place_of
from backnorm.report.to_text import summary

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from backnorm.audit.record import Finding, Record

__all__ = ["to_github"]

IN_MESSAGE: Final[Mapping[str, str]] = {"%": "%25", "\r": "%0D", "\n": "%0A"}
IN_PROPERTY: Final[Mapping[str, str]] = {**IN_MESSAGE, ":": "%3A", ",": "%2C"}


def to_github(records: Sequence[Record]) -> str:
    """Write an annotation for each target with findings, then a summary.

    Parameters
    ----------
    records
        One for each target.

    Returns
    -------
    str
        Lines for stdout of a step: ``::error`` where the target fails, or was not judged or
        audited, ``::warning`` where its findings are notes, and ``::notice`` where some are
        ignored and the others are notes. The message has a line for each
        finding, without the notes where other findings make the target fail. A target that is
        defined in a file is annotated in the line that defines it.

    Notes
    -----
    Source: GitHub's documentation, "Workflow commands for GitHub Actions"; in a message %, CR and
    LF are written %25, %0D, %0A, in a property also : and , as %3A and %2C. GitHub shows ten
    annotations of each kind for a step; hence an annotation is for a target, not for a finding.
    """
    lines = [_command(record) for record in records if record.findings or not record.clean]
    return "\n".join([*lines, *summary(records)]) + "\n"


def _command(record: Record) -> str:
    told = _told(record)
    codes = " ".join(dict.fromkeys(finding.code for finding in told))
    name = printable(record.target)
    places = {**_place(record.target), "title": f"{codes} {name}".strip()}
    properties = ",".join(f"{key}={_escaped(text, IN_PROPERTY)}" for key, text in places.items())
    message = _escaped("\n".join(_lines(record, told)), IN_MESSAGE)
    return f"::{_level(record)} {properties}::{message}"


def _level(record: Record) -> str:
    if not record.clean:
        return "error"
    return "notice" if any(found.ignored for found in record.findings) else "warning"


def _told(record: Record) -> list[Finding]:
    """Return the findings that make a target fail, or the others if it does not fail."""
    failures = [found for found in record.findings if found.counts]
    return failures or list(record.findings)


def _lines(record: Record, told: Sequence[Finding]) -> Iterator[str]:
    """Yield why a target was not judged, and a line for each finding: what, and what to do."""
    if record.not_judged:
        yield printable(f"Not judged: {record.not_judged}")
    for found in told:
        ignored = f" is ignored ({found.ignored})" if found.ignored else ""
        yield printable(" ".join(f"{found.code}{ignored}: {found.what} {found.remedy}".split()))


def _place(target: str) -> Mapping[str, str]:
    """Return the properties that say where a target is defined, as far as this is known."""
    place = place_of(target)
    file = {"file": place.file} if place.file else {}
    return {**file, "line": str(place.line)} if place.line else file


def _escaped(text: str, table: Mapping[str, str]) -> str:
    return "".join(table.get(letter, letter) for letter in text)

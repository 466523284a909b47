"""Records as annotations of GitHub: one workflow command for each target with findings.

An annotation is read in a list beside others, so it says what was found and what to do. The table
of the same audit, or ``backnorm explain CODE``, says more.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

from backnorm.audit.record import NOTE_FAMILIES
from backnorm.errors.printable import printable
from backnorm.report.to_text import summary

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from backnorm.audit.record import Finding, Record

__all__ = ["to_github"]

IN_FILE: Final = re.compile(r"(?P<file>.+\.py):(?P<name>\w+)")
"""The beginning of a target that is defined in a file."""

DEFINITIONS: Final = (ast.ClassDef, ast.FunctionDef)

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
        audited, ``::warning`` where its findings are notes. The message has a line for each
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
    return f"::{'warning' if record.clean else 'error'} {properties}::{message}"


def _told(record: Record) -> list[Finding]:
    """Return the findings that make a target fail, or its notes if it does not fail."""
    failures = [found for found in record.findings if found.code[0] not in NOTE_FAMILIES]
    return failures or list(record.findings)


def _lines(record: Record, told: Sequence[Finding]) -> Iterator[str]:
    """Yield why a target was not judged, and a line for each finding: what, and what to do."""
    if record.not_judged:
        yield printable(f"Not judged: {record.not_judged}")
    for found in told:
        yield printable(" ".join(f"{found.code}: {found.what} {found.remedy}".split()))


def _escaped(text: str, table: Mapping[str, str]) -> str:
    return "".join(table.get(letter, letter) for letter in text)


def _place(target: str) -> Mapping[str, str]:
    """Return the file of a target and the line of its definition, as far as they are known."""
    match = IN_FILE.match(target)
    if match is None:
        return {}
    path = Path(match["file"])
    relative = path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
    place = {"file": printable(relative.as_posix())}
    line = _line_defining(path, match["name"])
    return {**place, "line": str(line)} if line else place


def _line_defining(path: Path, name: str) -> int:
    """Return the line that defines a name; 0 where it is unknown."""
    try:
        tree = ast.parse(path.read_bytes())
    except (OSError, SyntaxError, ValueError):
        return 0
    named = (node for node in tree.body if isinstance(node, DEFINITIONS))
    return next((node.lineno for node in named if node.name == name), 0)

"""Records as Markdown, for the summary of a step or a comment."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from backnorm.errors.base import counted
from backnorm.errors.printable import printable
from backnorm.report._failures import failures_of
from backnorm.report.to_text import summary, verdict_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from backnorm.audit.record import Record

__all__ = ["to_markdown"]

MARKUP: Final = re.compile(r"([\\`*_{}\[\]<>#|~&!@$])")
"""What Markdown or HTML may take for more than a letter."""

HEADS: Final = ("target", "sound", "through", "findings")


def to_markdown(records: Sequence[Record]) -> str:
    """Write the summary, and a table with the targets that have findings.

    Parameters
    ----------
    records
        One for each target.

    Returns
    -------
    str
        Markdown. Findings that are ignored are in parentheses, with the reason below.
    """
    shown = [record for record in records if record.findings or not record.clean]
    lines = ["## Audit of normalization layers", "", _escaped(" ".join(summary(records))), ""]
    if shown:
        lines += [f"| {' | '.join(HEADS)} |", "|---" * len(HEADS) + "|", *map(_row, shown), ""]
    if len(shown) < len(records):
        lines += [f"{counted(len(records) - len(shown), 'layer')} without findings.", ""]
    return "\n".join([*lines, *_meanings(shown)])


def _row(record: Record) -> str:
    verdict = verdict_of(record)[0] if record.audited else "not audited"
    codes = dict.fromkeys(f"({f.code})" if f.ignored else f.code for f in record.findings)
    through = record.through if record.audited and not record.forward_only else ""
    cells = (record.target, verdict, through, " ".join(codes))
    return f"| {' | '.join(map(_escaped, cells))} |"


def _meanings(records: Sequence[Record]) -> Iterator[str]:
    for failure in failures_of(records):
        ignored = f" Ignored: {failure.ignored}." if failure.ignored else ""
        yield f"- **{failure.code}** {_escaped(failure.message + ignored)}"
    yield ""


def _escaped(text: str) -> str:
    return MARKUP.sub(r"\\\1", printable(text, one_line=True))

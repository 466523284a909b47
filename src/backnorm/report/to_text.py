"""Records as a table for people, and all that is known about each where they ask for it."""

from __future__ import annotations

import io
import textwrap
from typing import TYPE_CHECKING, Final

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from backnorm.audit.record import IMPOSSIBLE
from backnorm.report.printable import printable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from backnorm.audit.record import Finding, Record

__all__ = ["details", "summary", "to_text"]

LABEL: Final = 10
"""Width of "expected" and the like in the findings."""

NARROW: Final = 72
"""Paragraphs are not set wider than this plus a margin: longer lines are hard to read."""


def to_text(
    records: Sequence[Record], *, width: int = 100, color: bool = False, verbose: bool = False
) -> str:
    """Write a line for each record, then a summary.

    Parameters
    ----------
    records
        One for each target.
    width
        Columns to fill at most.
    color
        Whether to add the escape codes of a terminal.
    verbose
        Whether to say below all that is known: notes, findings, and what each probe came to.

    Returns
    -------
    str
        The text.
    """
    page = io.StringIO()
    console = Console(
        file=page, width=width, force_terminal=color, no_color=not color, highlight=False
    )
    console.print(_table(records))
    below = (*_notes(records), *_details(records, width)) if verbose else ("",)
    hint = [] if verbose or not any(r.findings for r in records) else ["Findings in full: -v."]
    for line in (*below, *hint, summary(records), *_impossible(records)):
        console.print(Text(line), soft_wrap=True)
    return "\n".join(line.rstrip() for line in page.getvalue().splitlines()) + "\n"


def summary(records: Sequence[Record]) -> str:
    """Say in one line how many are sound."""
    audited = [record for record in records if record.audited]
    sound = sum(record.sound for record in audited)
    parts = [f"{len(audited)} audited: {sound} sound, {len(audited) - sound} not."]
    faulty = sum(record.sound and not record.clean for record in audited)
    if faulty:
        words = "has another fault" if faulty == 1 else "have other faults"
        parts.append(f"{faulty} of the sound {words}.")
    if len(audited) < len(records):
        parts.append(f"{len(records) - len(audited)} could not be audited.")
    if any(record.expected for record in records):
        met = [m for m in (record.as_expected() for record in records) if m is not None]
        parts.append(f"{sum(met)} of {len(met)} got the verdict that they must get.")
    return " ".join(parts)


def _impossible(records: Sequence[Record]) -> Iterator[str]:
    """Say in one line how many probes were not possible, and why."""
    whys = [
        probe.what.removeprefix(IMPOSSIBLE)
        for record in records
        for probe in record.probes
        if probe.what.startswith(IMPOSSIBLE)
    ]
    if whys:
        counts = "; ".join(f"{why} ({whys.count(why)})" for why in dict.fromkeys(whys))
        yield f"{len(whys)} probe{'s' if len(whys) > 1 else ''} skipped as not possible: {counts}."


def _table(records: Sequence[Record]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), show_edge=False)
    table.add_column("target", overflow="fold")
    for name in ("kind", "mode", "through"):
        table.add_column(name, no_wrap=True)
    for name in ("direct", "mean", "var", "rest"):
        table.add_column(name, no_wrap=True, justify="right")
    table.add_column("sound", no_wrap=True)
    table.add_column("findings", overflow="fold")
    gallery = any(record.expected for record in records)
    if gallery:
        table.add_column("expected", overflow="fold")
    for record in records:
        table.add_row(*_cells(record, gallery=gallery))
    return table


def _cells(record: Record, *, gallery: bool) -> Iterator[Text]:
    yield Text(printable(record.target))
    yield Text(record.kind)
    if not record.audited:
        yield from (Text("?"), Text("?"), *(Text("") for _ in range(4)), Text("?", style="yellow"))
    else:
        shares = record.coefficients
        yield Text(record.mode)
        yield Text(record.through)
        for share in (shares.direct, shares.mean, shares.variance):
            yield Text(_share(share))
        yield Text("" if record.unexplained is None else f"{record.unexplained:.0e}")
        yield Text("yes", style="green") if record.sound else Text("NO", style="bold red")
    yield Text(" ".join(dict.fromkeys(finding.code for finding in record.findings)))
    if gallery:
        words = {True: Text("yes"), False: Text("NO", style="bold red"), None: Text("")}
        yield words[record.as_expected()]


def _share(share: float | None) -> str:
    """Three digits, and a plain 0 for what is nearly 0 or below."""
    return "-" if share is None else f"{share + 0.0:.3f}".replace("-0.000", "0.000")


def _notes(records: Sequence[Record]) -> Iterator[str]:
    """Each note once, with all the targets that it holds for."""
    holders: dict[str, list[str]] = {}
    for record in records:
        for note in record.notes:
            holders.setdefault(printable(note), []).append(printable(record.target))
    for note, targets in holders.items():
        yield ""
        yield from _wrapped(f"{', '.join(targets)}: {note}", "", NARROW + 20)
    yield ""


def _details(records: Sequence[Record], width: int) -> Iterator[str]:
    room = min(width, NARROW + 20)
    for record in records:
        if record.findings or record.probes or record.state:
            yield from (*details(record, room), "")


def details(record: Record, width: int = NARROW + 20) -> Iterator[str]:
    """Yield the lines that say all about one target: its findings in full, then its probes."""
    yield printable(record.target)
    for number, finding in enumerate(record.findings):
        yield from ("",) if number else ()
        yield from _finding(finding, width)
    if record.state:
        yield from _wrapped(record.state, _label("state"), width)
    for probe in record.probes:
        what = f"{probe.result}, {probe.name}: {probe.what} [{probe.seconds:.2f} s]"
        yield from _wrapped(what, f"  {probe.code}  ", width)


def _finding(finding: Finding, width: int) -> Iterator[str]:
    yield from _wrapped(finding.what, f"  {finding.code}  ", width)
    yield from _wrapped(finding.expected, _label("expected"), width)
    yield from _wrapped(finding.got, _label("got"), width)
    for number, cause in enumerate(finding.causes):
        label = _label("causes" if number == 0 else "")
        yield from _wrapped(cause, f"{label}({chr(ord('a') + number)}) ", width)
    yield from _wrapped(finding.remedy, _label("remedy"), width)


def _label(word: str) -> str:
    return " " * 7 + word.ljust(LABEL)


def _wrapped(text: str, first: str, width: int) -> list[str]:
    """Set a paragraph; an empty one has the label alone."""
    lines = textwrap.wrap(
        printable(text), width, initial_indent=first, subsequent_indent=" " * len(first)
    )
    return lines or [first.rstrip()]

"""Records as a table for people; on request with findings, notes and probes in full."""

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
    from collections.abc import Iterator, Mapping, Sequence

    from backnorm.audit.record import Finding, Record

__all__ = ["details", "summary", "to_text"]

LABEL: Final = 10
"""Width of "expected" and the like in the findings."""

VERDICTS: Final[Mapping[bool | None, tuple[str, str]]] = {
    True: ("yes", "green"),
    False: ("NO", "bold red"),
    None: ("not judged", "yellow"),
}
"""Word and style of each verdict."""

NARROW: Final = 72
"""Columns of a paragraph, beside a margin of 20: longer lines are hard to read."""


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
        Whether to add notes, findings in full, and the result of each probe.

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
    hidden = not verbose and any(record.findings for record in records)
    hint = ["Pass -v to read the findings in full."] if hidden else []
    for line in (*below, *hint, *summary(records)):
        console.print(Text(line), soft_wrap=True)
    return "\n".join(line.rstrip() for line in page.getvalue().splitlines()) + "\n"


def summary(records: Sequence[Record]) -> list[str]:
    """Return a line of verdicts, and of what was not judged or not possible, if anything."""
    return [_verdicts(records), *_not_judged(records), *_impossible(records)]


def _verdicts(records: Sequence[Record]) -> str:
    """Say how many layers are sound, and how many have other findings."""
    audited = [record for record in records if record.audited]
    sound, unsound, unjudged = (
        sum(record.sound is verdict for record in audited) for verdict in (True, False, None)
    )
    verdicts = f"{sound} sound" + (f", {unsound} not sound" if unsound else "")
    verdicts += f", {unjudged} not judged" if unjudged else ""
    sentences = [f"{_layers(len(audited))} audited: {verdicts}."]
    others = sum(record.sound is True and not record.clean for record in audited)
    if others:
        whose = " of the sound layers" if unsound or unjudged else ""
        sentences.append(f"{others}{whose} {'has' if others == 1 else 'have'} other findings.")
    if len(audited) < len(records):
        sentences.append(f"{_layers(len(records) - len(audited))} could not be audited.")
    met = [m for m in (record.as_expected() for record in records) if m is not None]
    if met:
        sentences.append(f"{sum(met)} of {len(met)} got the expected verdict.")
    return " ".join(sentences)


def _layers(count: int) -> str:
    return f"{count} layer{'s' * (count != 1)}"


def _impossible(records: Sequence[Record]) -> Iterator[str]:
    """Say in one line how many probes were not possible, and why."""
    whys = [
        probe.what.removeprefix(IMPOSSIBLE)
        for record in records
        for probe in record.probes
        if probe.what.startswith(IMPOSSIBLE)
    ]
    if whys:
        plural = "s" if len(whys) > 1 else ""
        yield f"{len(whys)} probe{plural} skipped as not possible: {_counted(whys)}."


def _not_judged(records: Sequence[Record]) -> Iterator[str]:
    """Say in one line why layers were not judged."""
    whys = [record.not_judged for record in records if record.not_judged]
    if whys:
        yield f"Not judged: {_counted(whys)}."


def _counted(whys: Sequence[str]) -> str:
    return "; ".join(f"{why} ({whys.count(why)})" for why in dict.fromkeys(whys))


def _table(records: Sequence[Record]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), show_edge=False)
    table.add_column("target", overflow="fold")
    for name in ("kind", "mode", "through"):
        table.add_column(name, no_wrap=True)
    for name in ("direct", "mean", "var", "residual"):
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
        yield Text(*VERDICTS[record.sound])
    yield Text(" ".join(dict.fromkeys(finding.code for finding in record.findings)))
    if gallery:
        words = {True: Text("yes"), False: Text("NO", style="bold red"), None: Text("")}
        yield words[record.as_expected()]


def _share(share: float | None) -> str:
    """Write three decimals, without a sign before 0.000."""
    return "-" if share is None else f"{share + 0.0:.3f}".replace("-0.000", "0.000")


def _notes(records: Sequence[Record]) -> Iterator[str]:
    """Yield each note once, after the names of all its targets."""
    targets_of: dict[str, list[str]] = {}
    for record in records:
        for note in record.notes:
            targets_of.setdefault(printable(note), []).append(printable(record.target))
    for note, targets in targets_of.items():
        yield ""
        yield from _wrapped(f"{', '.join(targets)}: {note}", "", NARROW + 20)
    yield ""


def _details(records: Sequence[Record], width: int) -> Iterator[str]:
    for record in records:
        if record.findings or record.probes or record.state or record.not_judged:
            yield from (*details(record, min(width, NARROW + 20)), "")


def details(record: Record, width: int = NARROW + 20) -> Iterator[str]:
    """Yield the lines about a target: its findings in full, its state, and its probes."""
    yield printable(record.target)
    if record.not_judged:
        yield from _wrapped(record.not_judged, "  not judged: ", width)
    for number, finding in enumerate(record.findings):
        yield from ("",) if number else ()
        yield from _finding(finding, width)
    if record.state:
        yield from _wrapped(record.state, _label("state"), width)
    for probe in record.probes:
        line = f"{probe.result}, {probe.name}: {probe.what} [{probe.seconds:.2f} s]"
        yield from _wrapped(line, f"  {probe.code}  ", width)


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
    """Wrap a paragraph; of an empty paragraph the label is left."""
    lines = textwrap.wrap(
        printable(text), width, initial_indent=first, subsequent_indent=" " * len(first)
    )
    return lines or [first.rstrip()]

"""Records as a table for people; on request with findings, notes and probes in full.

What could not be audited is told in a line. Below the table stands what each code means.
"""

from __future__ import annotations

import io
import itertools
import textwrap
from typing import TYPE_CHECKING, Final

from rich.console import Console
from rich.text import Text

from backnorm.audit.record import IMPOSSIBLE, NOTE_FAMILIES, OTHER_FUNCTION
from backnorm.errors.base import counted
from backnorm.errors.printable import printable
from backnorm.report._lines import Column, lines_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from backnorm.audit.record import Finding, Record

__all__ = ["SHOWN", "codes", "details", "summary", "table_of", "to_text", "verdict_of"]

LABEL: Final = 10
"""Width of "expected" and the like in the findings."""

HUGE: Final = 1e4
"""Shares of this size are written with an exponent: the column would push the others away."""

VERDICTS: Final[Mapping[bool | None, tuple[str, str]]] = {
    True: ("yes", "green"),
    False: ("NO", "bold red"),
    None: ("not judged", "yellow"),
}
"""Word and style of each verdict on a gradient."""

FORWARD_ONLY: Final = ("forward only", "cyan")
"""The same where there is no gradient."""

NARROW: Final = 72
"""Columns of a paragraph, beside a margin of 20: longer lines are hard to read."""

HINT: Final = "Pass -v to read the findings in full. backnorm explain CODE says more of a code."
"""Where the findings of a table can be read."""

SHOWN: Final[Mapping[str, Callable[[Record], bool]]] = {
    "all": lambda _: True,
    "findings": lambda record: bool(record.findings) or not record.clean,
    "failures": lambda record: not record.clean,
}
"""Which records a table shows: all; those with findings, not judged or not audited; and those for
which the exit status is not 0."""


def to_text(
    records: Sequence[Record],
    *,
    width: int = 100,
    color: bool = False,
    verbose: bool = False,
    unit: str = "layer",
    only: str = "all",
    hint: str = HINT,
) -> str:
    """Write a line for each record, what each code means, and a summary.

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
    unit
        What the records are about, for the summary: "layer" or "control".
    only
        Which of the records to show, a key of `SHOWN`; the summary counts all of them.
    hint
        Where the findings can be read, if they are not written in full.

    Returns
    -------
    str
        The text. Without a record that was audited it has no table.
    """
    page = io.StringIO()
    console = Console(
        file=page, width=width, force_terminal=color, no_color=not color, highlight=False
    )
    shown = [record for record in records if SHOWN[only](record)]
    if any(record.audited for record in shown):
        for line in (*lines_of(*table_of(shown), width), Text("")):
            console.print(line, soft_wrap=True)
    full = (*_notes(shown), *_details(shown, width))
    below = full if verbose else (*codes(shown, min(width, NARROW + 20), hint),)
    for text in (*below, *_left_out(len(records) - len(shown), unit), *summary(records, unit)):
        console.print(Text(text), soft_wrap=True)
    return "\n".join(line.rstrip() for line in page.getvalue().splitlines()) + "\n"


def codes(records: Sequence[Record], width: int, hint: str) -> Iterator[str]:
    """Yield why records could not be audited, and what each code of the others means."""
    for record in records:
        yield from (printable(_reason(found)) for found in record.findings if not record.audited)
    known = {found.code: found for record in records if record.audited for found in record.findings}
    for code, found in sorted(known.items()):
        note = " (note)" if code[0] in NOTE_FAMILIES else ""
        yield from _wrapped(found.what, f"{code}{note}: ", width, " " * 5)
    yield from _ignored(records, width)
    if known:
        yield hint
    if any(record.findings for record in records):
        yield ""


def _ignored(records: Sequence[Record], width: int) -> Iterator[str]:
    """Yield which findings do not count, and why: each reason once."""
    codes_of: dict[str, list[str]] = {}
    for record in records:
        for found in record.findings:
            if found.ignored:
                codes_of.setdefault(found.ignored, []).append(found.code)
    for reason, found_codes in codes_of.items():
        listed = ", ".join(f"({code})" for code in sorted(set(found_codes)))
        yield from _wrapped(reason, f"{listed} ignored: ", width, " " * 5)


def _reason(found: Finding) -> str:
    """Return why a subject could not be audited, and what to do, on one line."""
    return f"{found.code}: {' '.join(found.what.split())} {' '.join(found.remedy.split())}"


def _left_out(count: int, unit: str) -> Iterator[str]:
    """Say how many records are not shown."""
    if count:
        yield f"{counted(count, unit)} {'is' if count == 1 else 'are'} not shown."


def summary(records: Sequence[Record], unit: str = "layer") -> list[str]:
    """Return a line of verdicts, and lines of what was not judged, or not as its kind."""
    lines = (_not_judged(records), _other_functions(records), _impossible(records))
    return [_verdicts(records, unit), *itertools.chain(*lines)]


def _verdicts(records: Sequence[Record], unit: str) -> str:
    """Say how many layers or controls are sound, and how many have other findings."""
    audited = [record for record in records if record.audited]
    if records and not audited:
        return f"{counted(len(records), unit)} could not be audited."
    sentences = [f"{counted(len(audited), unit)} audited: {_counts(audited)}."]
    others = sum(record.sound is True and not record.clean for record in audited)
    if others:
        whose = f" of the sound {unit}s" if any(r.sound is not True for r in audited) else ""
        sentences.append(f"{others}{whose} {'has' if others == 1 else 'have'} other findings.")
    ignored = sum(bool(found.ignored) for record in records for found in record.findings)
    if ignored:
        verb = "is" if ignored == 1 else "are"
        sentences.append(f"{counted(ignored, 'finding')} {verb} ignored.")
    if len(audited) < len(records):
        sentences.append(f"{counted(len(records) - len(audited), unit)} could not be audited.")
    met = [m for m in (record.as_expected() for record in records) if m is not None]
    if met:
        sentences.append(f"{sum(met)} of {len(met)} got the expected verdict.")
    return " ".join(sentences)


def _counts(audited: Sequence[Record]) -> str:
    """Say how many records have each verdict; of those without a gradient how many are wrong."""
    without = [record for record in audited if record.forward_only]
    numbers = {
        "sound": sum(record.sound is True for record in audited),
        "not sound": sum(record.sound is False for record in audited),
        "not judged": sum(record.open for record in audited),
        "forward only": len(without),
    }
    if len(without) == len(audited) > 0:
        del numbers["sound"]
    said = [f"{n} {what}" for what, n in numbers.items() if n or what == "sound"]
    wrong = sum(not record.clean for record in without)
    return ", ".join(said) + (f" ({wrong} with findings)" if wrong else "")


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
    """Say in a line each why layers were not judged, and why they have no gradient."""
    for head, name in (("Not judged", "not_judged"), ("Forward only", "forward_only")):
        whys = [why for record in records if record.audited and (why := getattr(record, name))]
        if whys:
            yield f"{head}: {_counted(whys)}."


def _other_functions(records: Sequence[Record]) -> Iterator[str]:
    """Say in a line for each kind which programs are another function than their facts say."""
    for note, targets in _by_note(records).items():
        if note.startswith(OTHER_FUNCTION):
            yield f"{', '.join(targets)}: {note}"


def _counted(whys: Sequence[str]) -> str:
    return "; ".join(f"{why} ({whys.count(why)})" for why in dict.fromkeys(whys))


def table_of(records: Sequence[Record]) -> tuple[list[Column], list[list[Text]]]:
    """Return the columns and the rows of the table."""
    columns = [Column(name) for name in ("target", "kind", "mode", "through")]
    columns += [Column(name, right=True) for name in ("direct", "mean", "var", "residual")]
    columns += [Column("sound"), Column("findings", wraps=True)]
    gallery = any(record.expected for record in records)
    if gallery:
        columns.append(Column("expected"))
    return columns, [list(_cells(record, gallery=gallery)) for record in records]


def _cells(record: Record, *, gallery: bool) -> Iterator[Text]:
    yield Text(printable(record.target))
    if not record.audited:
        yield from (*(Text("") for _ in range(7)), Text("not audited", style="yellow"))
    else:
        through = "-" if record.forward_only else record.through
        for word in (record.kind, record.mode, through):
            yield Text(word)
        shares = record.coefficients
        for share in (shares.direct, shares.mean, shares.variance):
            yield Text(_share(share))
        yield Text("" if record.residual is None else f"{record.residual:.0e}")
        yield Text(*verdict_of(record))
    shown = (f"({found.code})" if found.ignored else found.code for found in record.findings)
    yield Text(" ".join(dict.fromkeys(shown)))
    if gallery:
        words = {True: Text("yes"), False: Text("NO", style="bold red"), None: Text("")}
        yield words[record.as_expected()]


def verdict_of(record: Record) -> tuple[str, str]:
    """Return word and style of the verdict on what was audited."""
    return FORWARD_ONLY if record.forward_only else VERDICTS[record.sound]


def _share(share: float | None) -> str:
    """Write three decimals, without a sign before 0.000; a poor fit may give a huge share."""
    if share is not None and abs(share) >= HUGE:
        return f"{share:.0e}"
    return "-" if share is None else f"{share + 0.0:.3f}".replace("-0.000", "0.000")


def _notes(records: Sequence[Record]) -> Iterator[str]:
    """Yield each note once, after the names of all its targets; the summary has the others."""
    for note, targets in _by_note(records).items():
        if not note.startswith(OTHER_FUNCTION):
            yield ""
            yield from _wrapped(f"{', '.join(targets)}: {note}", "", NARROW + 20)
    yield ""


def _by_note(records: Sequence[Record]) -> Mapping[str, Sequence[str]]:
    """Return the names of the targets of each note."""
    targets_of: dict[str, list[str]] = {}
    for record in records:
        for note in record.notes:
            targets_of.setdefault(printable(note), []).append(printable(record.target))
    return targets_of


def _details(records: Sequence[Record], width: int) -> Iterator[str]:
    for record in records:
        if record.findings or record.probes or record.state or record.open:
            yield from (*details(record, min(width, NARROW + 20)), "")


def details(record: Record, width: int = NARROW + 20) -> Iterator[str]:
    """Yield the lines about a target: its findings in full, its state, and its probes."""
    yield printable(record.target)
    if record.not_judged:
        yield from _wrapped(record.not_judged, "  not judged: ", width)
    if record.forward_only:
        yield from _wrapped(f"{record.forward_only}.", "  forward only: ", width)
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
    if finding.ignored:
        yield from _wrapped(finding.ignored, _label("ignored"), width)
    yield from _wrapped(finding.expected, _label("expected"), width)
    yield from _wrapped(finding.got, _label("got"), width)
    for number, cause in enumerate(finding.causes):
        label = _label("causes" if number == 0 else "")
        yield from _wrapped(cause, f"{label}({chr(ord('a') + number)}) ", width)
    yield from _wrapped(finding.remedy, _label("remedy"), width)


def _label(word: str) -> str:
    return " " * 7 + word.ljust(LABEL)


def _wrapped(text: str, first: str, width: int, others: str | None = None) -> list[str]:
    """Wrap a paragraph; of an empty paragraph the label is left."""
    indent = " " * len(first) if others is None else others
    lines = textwrap.wrap(printable(text), width, initial_indent=first, subsequent_indent=indent)
    return lines or [first.rstrip()]

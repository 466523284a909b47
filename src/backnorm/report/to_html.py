"""Records as one page without scripts, network access or other files."""

from __future__ import annotations

import importlib.resources
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Final

from backnorm import __version__
from backnorm.audit.findings import CATALOG
from backnorm.audit.record import IMPOSSIBLE, Errors
from backnorm.report._elements import Shared, element, page
from backnorm.report._figures import (
    coefficient_bar,
    coefficients_figure,
    number,
    precision_figure,
    split_figure,
)
from backnorm.report.columns import MEANINGS
from backnorm.report.environment import environment
from backnorm.report.to_text import summary

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from xml.etree import ElementTree as ET

    from backnorm.audit.findings.entry import Entry
    from backnorm.audit.record import Finding, PrecisionPoint, ProbeResult, Record

__all__ = ["to_html"]

COLUMNS: Final = {
    "target": "",
    "sound": "",
    "kind": "",
    "mode": "",
    "through": "",
    "direct": "number",
    "mean": "number",
    "variance": "number",
    "residual": "number",
    "findings": "",
}
"""Columns of the verdict table, and the CSS class of each."""

GRADIENTS: Final = ("dx", "dgamma", "dbeta")

POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
"""The browser keeps the page from fetching anything, whatever a target's name contains."""


def to_html(records: Sequence[Record], *, unit: str = "layer", on: str = "") -> str:
    """Write records as a page.

    Parameters
    ----------
    records
        One for each target.
    unit
        What the records are about, for the summary: "layer" or "control".
    on
        The day that the page names, such as 2026-03-09; empty for today.

    Returns
    -------
    str
        A document with the verdicts in a table, and for each target its findings, a bar for each
        coefficient, the parts of its gradient and its precision, as far as these were measured.
        The codes of findings link to what they mean, at the end of the page.

    Notes
    -----
    It follows the reader's choice of light or dark, and fits a phone, where the table of verdicts
    is a block for each target. All text from targets is escaped. What several figures show alike is
    in the page once.
    """
    shared = Shared()
    day = date.fromisoformat(on) if on else datetime.now(UTC).astimezone().date()
    verdicts = _verdicts(records, shared)
    targets = [_target(record, at, shared) for at, record in enumerate(records)]
    versions = ", ".join(f"{name} {version}" for name, version in environment().items())
    body = element(
        "body",
        {},
        element(
            "header",
            {},
            element("h1", {}, "Audit of normalization layers"),
            element("p", {"id": "summary"}, "\n".join(summary(records, unit))),
            element(
                "p",
                {"class": "muted"},
                element("time", {"datetime": day.isoformat()}, f"{day:%d %B %Y}".lstrip("0")),
                f", backnorm {__version__}, {versions}",
            ),
        ),
        element(
            "main",
            {},
            element("h2", {}, "Verdicts"),
            verdicts,
            _columns(),
            element("h2", {}, "Each target"),
            *targets,
            *_meanings(records),
            shared.kept(),
        ),
    )
    return page(element("html", {"lang": "en"}, _head(), body))


def _head() -> ET.Element:
    style = (importlib.resources.files("backnorm.report") / "_style.css").read_text("utf-8")
    sheet = element("style", {})
    sheet.text = style
    return element(
        "head",
        {},
        element("meta", {"charset": "utf-8"}),
        element("meta", {"http-equiv": "Content-Security-Policy", "content": POLICY}),
        element("meta", {"name": "viewport", "content": "width=device-width, initial-scale=1"}),
        element("meta", {"name": "color-scheme", "content": "light dark"}),
        element("link", {"rel": "icon", "href": "data:,"}),
        element("title", {}, "Audit of normalization layers"),
        sheet,
    )


def _columns() -> ET.Element:
    """Say what the columns of the table of verdicts mean."""
    parts = [element(tag, {}, words) for pair in MEANINGS.items() for tag, words in _tagged(pair)]
    return element(
        "details",
        {"id": "columns"},
        element("summary", {}, "What the columns mean"),
        element("dl", {}, *parts),
    )


def _meanings(records: Sequence[Record]) -> Iterator[ET.Element]:
    """Yield what each code means that a record has: the codes link to it."""
    codes = sorted({found.code for record in records for found in record.findings} & {*CATALOG})
    if codes:
        yield element("h2", {}, "What the codes mean")
    for code in codes:
        entry = CATALOG[code]
        parts = [element("h3", {}, f"{code}: {entry.what}"), _parts(entry)]
        yield element("section", {"id": f"code-{code}"}, *parts)


def _codes(findings: Sequence[Finding]) -> Iterator[ET.Element | str]:
    """Yield links to what codes mean, with a space between them."""
    shown = {(finding.code, bool(finding.ignored)): None for finding in findings}
    for at, (code, ignored) in enumerate(shown):
        yield from (" ",) if at else ()
        yield element("a", {"href": f"#code-{code}"}, f"({code})" if ignored else code)


def _table(
    key: str,
    caption: str,
    columns: dict[str, str],
    rows: Iterator[ET.Element],
    style: str = "",
) -> ET.Element:
    """Make a table in a box, which scrolls where the table is wider."""
    head = (
        element("th", {"scope": "col", **({"class": style} if style else {})}, name)
        for name, style in columns.items()
    )
    table = element(
        "table",
        {"class": style} if style else {},
        element("caption", {"id": key}, caption),
        element("thead", {}, element("tr", {}, *head)),
        element("tbody", {}, *rows),
    )
    box = {"class": "scroll", "tabindex": "0", "role": "region", "aria-labelledby": key}
    return element("div", box, table)


def _verdicts(records: Sequence[Record], shared: Shared) -> ET.Element:
    columns = {**COLUMNS, **({"expected": ""} if any(r.expected for r in records) else {})}
    rows = (
        element("tr", {}, *_cells(record, at, shared, gallery="expected" in columns))
        for at, record in enumerate(records)
    )
    caption = "Through which statistics each gradient goes, and whether it is right"
    return _table("verdicts", caption, columns, rows, "verdicts")


def _cells(record: Record, at: int, shared: Shared, *, gallery: bool) -> Iterator[ET.Element]:
    link = element("a", {"href": f"#target-{at}"}, record.target)
    yield element("th", {"scope": "row"}, link)
    yield _cell("", _verdict(record))
    through = "-" if record.forward_only else record.through
    for word in (record.kind, record.mode, through):
        yield _cell("", word if record.audited else "")
    for name in ("direct", "mean", "variance"):
        share: float | None = getattr(record.coefficients, name)
        yield _cell("", number(share), coefficient_bar(name, share, shared))
    residual = "-" if record.residual is None else f"{record.residual:.0e}"
    yield _cell("", residual)
    yield _cell("", *_codes(record.findings))
    if gallery:
        words = {True: "yes", False: "NO", None: ""}
        yield _cell("", words[record.as_expected()])


def _cell(style: str, *children: ET.Element | str) -> ET.Element:
    return element("td", {"class": style} if style else {}, *children)


def _verdict(record: Record) -> ET.Element:
    if not record.audited:
        return element("span", {"class": "open"}, "? not audited")
    if record.forward_only:
        return element("span", {"class": "open"}, "? forward only")
    if record.sound is None:
        return element("span", {"class": "open"}, "? not judged")
    if record.sound:
        return element("span", {"class": "good"}, "✓ yes")
    return element("span", {"class": "bad"}, "✗ NO")


def _target(record: Record, at: int, shared: Shared) -> ET.Element:
    opened = {} if record.clean else {"open": "open"}
    summary_ = element("summary", {}, record.target, ": sound? ", _verdict(record))
    about = element("div", {"id": f"target-{at}"}, *_about(record, at, shared))
    return element("details", opened, summary_, about)


def _about(record: Record, at: int, shared: Shared) -> Iterator[ET.Element]:
    key = f"target-{at}"
    if record.not_judged:
        yield element("p", {}, f"Not judged: {record.not_judged}.")
    if record.forward_only:
        yield element("p", {}, f"Forward only: {record.forward_only}.")
    if record.law:
        yield element("p", {}, f"It normalizes with: {record.law}.")
    if record.state:
        yield element("p", {}, record.state)
    for note in record.notes:
        yield element("p", {}, note)
    for finding in record.findings:
        yield _finding(finding, counts=not record.clean and not finding.ignored)
    figures = [*_figures(record, shared)]
    if figures:
        yield element("div", {"class": "figures"}, *figures)
    if record.errors != Errors():
        yield _errors(record)
    if record.probes:
        yield from _probes(record.probes, key)


def _finding(finding: Finding, *, counts: bool) -> ET.Element:
    link = element("a", {"href": f"#code-{finding.code}"}, finding.code)
    return element(
        "section",
        {"class": "finding" if counts else "finding aside"},
        element("h3", {}, link, f": {finding.what}"),
        _parts(finding),
    )


def _parts(entry: Finding | Entry) -> ET.Element:
    """List what was expected and got, causes and remedy.

    Of a finding this leaves out what its code always says: that is at the end of the page.
    """
    code = getattr(entry, "code", "")
    ignored = getattr(entry, "ignored", "")
    parts: dict[str, str | ET.Element] = {"ignored": ignored} if ignored else {}
    parts["expected"] = entry.expected
    if code:
        parts["got"] = getattr(entry, "got", "")
    causes = (element("li", {}, cause) for cause in entry.causes)
    parts["causes"] = element("ol", {"type": "a"}, *causes)
    parts["remedy"] = entry.remedy
    known = CATALOG.get(code)
    said = {name for name in ("expected", "causes", "remedy") if _alike(entry, known, name)}
    shown = {name: part for name, part in parts.items() if name not in said}
    return element(
        "dl",
        {},
        *(element(tag, {}, part) for pair in shown.items() for tag, part in _tagged(pair)),
    )


def _alike(entry: Finding | Entry, known: Entry | None, name: str) -> bool:
    return known is not None and getattr(entry, name) == getattr(known, name)


def _tagged(pair: tuple[str, str | ET.Element]) -> Iterator[tuple[str, str | ET.Element]]:
    yield from zip(("dt", "dd"), pair, strict=True)


def _figures(record: Record, shared: Shared) -> Iterator[ET.Element]:
    if record.coefficients.direct is not None:
        yield coefficients_figure(record.coefficients, shared)
    if record.parts is not None and record.parts.x:
        yield split_figure(record.parts, shared)
    for points in _sweeps(record.precision):
        yield precision_figure(points, shared)


def _sweeps(precision: Sequence[PrecisionPoint]) -> Sequence[Sequence[PrecisionPoint]]:
    """Group points by sweep and dtype."""
    groups: dict[tuple[str, str], list[PrecisionPoint]] = {}
    for point in precision:
        groups.setdefault((point.sweep, point.dtype), []).append(point)
    return [*groups.values()]


def _errors(record: Record) -> ET.Element:
    """Say the largest errors."""
    errors = record.errors
    gradients = ", ".join(f"{name} {_error(getattr(errors, name))}" for name in GRADIENTS)
    return element(
        "p",
        {},
        f"Largest relative errors: y {_error(errors.y)}, compared with the forward law; "
        f"{gradients}, compared with the derivative of the forward pass.",
    )


def _error(error: float | None) -> str:
    return "-" if error is None else f"{error:.1e}"


def _probes(probes: Sequence[ProbeResult], key: str) -> Iterator[ET.Element]:
    """Yield a table of the probes that found something, and sentences about the others."""
    failed = [probe for probe in probes if probe.result == "fail"]
    rows = (
        element(
            "tr",
            {},
            element("th", {"scope": "row"}, f"{probe.code} {probe.name}"),
            _cell("", probe.what),
        )
        for probe in failed
    )
    if failed:
        columns = {"probe": "", "what was measured": ""}
        yield _table(f"{key}-probes", "Probes that found something", columns, rows)
    passed = [probe for probe in probes if probe.result == "pass"]
    if passed:
        yield element("p", {}, f"Passed: {_listed(passed)}.")
    skipped = [probe for probe in probes if probe.result == "skipped"]
    impossible = [probe for probe in skipped if probe.what.startswith(IMPOSSIBLE)]
    others = [probe for probe in skipped if probe not in impossible]
    whys = {probe.what: [one for one in others if one.what == probe.what] for probe in others}
    if whys:
        said = "; ".join(f"{_listed(same)} ({why})" for why, same in whys.items())
        yield element("p", {}, f"Skipped: {said}.")
    if impossible:
        yield element("p", {}, f"Not possible here: {', '.join(one.code for one in impossible)}.")


def _listed(probes: Sequence[ProbeResult]) -> str:
    return ", ".join(f"{probe.code} {probe.name}" for probe in probes)

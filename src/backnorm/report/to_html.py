"""Records as one page without scripts, network access or other files."""

from __future__ import annotations

import importlib.resources
from typing import TYPE_CHECKING, Final

from backnorm import __version__
from backnorm.audit.record import Errors
from backnorm.report._elements import element, page
from backnorm.report._figures import (
    coefficient_bar,
    coefficients_figure,
    number,
    precision_figure,
    split_figure,
)
from backnorm.report.environment import environment
from backnorm.report.to_text import summary

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from xml.etree import ElementTree as ET

    from backnorm.audit.record import Finding, PrecisionPoint, Record

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

POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
"""The browser keeps the page from fetching anything, whatever a target's name contains."""


def to_html(records: Sequence[Record]) -> str:
    """Write records as a page.

    Parameters
    ----------
    records
        One for each target.

    Returns
    -------
    str
        A document with the verdicts in a table, and for each target its findings, a bar for each
        coefficient, the parts of its gradient and its precision, as far as these were measured.

    Notes
    -----
    It follows the reader's choice of light or dark, and fits a phone: a wide table scrolls in its
    box. All text from targets is escaped.
    """
    versions = ", ".join(f"{name} {version}" for name, version in environment().items())
    body = element(
        "body",
        {},
        element(
            "header",
            {},
            element("h1", {}, "Audit of normalization layers"),
            element("p", {"id": "summary"}, "\n".join(summary(records))),
            element("p", {"class": "muted"}, f"backnorm {__version__}, {versions}"),
        ),
        element(
            "main",
            {},
            element("h2", {}, "Verdicts"),
            _verdicts(records),
            element("h2", {}, "Each target"),
            *(_target(record, at) for at, record in enumerate(records)),
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


def _table(
    key: str, caption: str, columns: dict[str, str], rows: Iterator[ET.Element]
) -> ET.Element:
    """Make a table in a box, which scrolls where the table is wider."""
    head = (
        element("th", {"scope": "col", **({"class": style} if style else {})}, name)
        for name, style in columns.items()
    )
    table = element(
        "table",
        {},
        element("caption", {"id": key}, caption),
        element("thead", {}, element("tr", {}, *head)),
        element("tbody", {}, *rows),
    )
    box = {"class": "scroll", "tabindex": "0", "role": "region", "aria-labelledby": key}
    return element("div", box, table)


def _verdicts(records: Sequence[Record]) -> ET.Element:
    columns = {**COLUMNS, **({"expected": ""} if any(r.expected for r in records) else {})}
    rows = (
        element("tr", {}, *_cells(record, at, gallery="expected" in columns))
        for at, record in enumerate(records)
    )
    caption = "Through which statistics each gradient goes, and whether it is right"
    return _table("verdicts", caption, columns, rows)


def _cells(record: Record, at: int, *, gallery: bool) -> Iterator[ET.Element]:
    link = element("a", {"href": f"#target-{at}"}, record.target)
    yield element("th", {"scope": "row"}, link)
    yield _cell("word", _verdict(record))
    measured = (record.mode, record.through) if record.audited else ("?", "?")
    for word in (record.kind, *measured):
        yield _cell("word", word)
    for name in ("direct", "mean", "variance"):
        share: float | None = getattr(record.coefficients, name)
        yield _cell("number", number(share), coefficient_bar(name, share))
    residual = "-" if record.unexplained is None else f"{record.unexplained:.0e}"
    yield _cell("number", residual)
    yield _cell("", " ".join(dict.fromkeys(finding.code for finding in record.findings)))
    if gallery:
        words = {True: "yes", False: "NO", None: ""}
        yield _cell("word", words[record.as_expected()])


def _cell(style: str, *children: ET.Element | str) -> ET.Element:
    return element("td", {"class": style} if style else {}, *children)


def _verdict(record: Record) -> ET.Element:
    if not record.audited:
        return element("span", {"class": "open"}, "? not audited")
    if record.sound is None:
        return element("span", {"class": "open"}, "? not judged")
    if record.sound:
        return element("span", {"class": "good"}, "✓ yes")
    return element("span", {"class": "bad"}, "✗ NO")


def _target(record: Record, at: int) -> ET.Element:
    opened = {} if record.clean else {"open": "open"}
    summary_ = element("summary", {}, record.target, ": sound? ", _verdict(record))
    return element(
        "details", opened, summary_, element("div", {"id": f"target-{at}"}, *_about(record, at))
    )


def _about(record: Record, at: int) -> Iterator[ET.Element]:
    key = f"target-{at}"
    if record.not_judged:
        yield element("p", {}, f"Not judged: {record.not_judged}.")
    if record.law:
        yield element("p", {}, f"It normalizes with: {record.law}.")
    if record.state:
        yield element("p", {}, record.state)
    for note in record.notes:
        yield element("p", {}, note)
    for finding in record.findings:
        yield _finding(finding, counts=not record.clean)
    figures = [*_figures(record, key)]
    if figures:
        yield element("div", {"class": "figures"}, *figures)
    if record.errors != Errors():
        yield _errors(record, key)
    if record.probes:
        yield _probes(record, key)
    if record.precision:
        yield _precision(record.precision, key)


def _finding(finding: Finding, *, counts: bool) -> ET.Element:
    causes = element("ol", {"type": "a"}, *(element("li", {}, c) for c in finding.causes))
    parts = {"expected": finding.expected, "got": finding.got}
    return element(
        "section",
        {"class": "finding" if counts else "finding aside"},
        element("h3", {}, f"{finding.code}: {finding.what}"),
        element(
            "dl",
            {},
            *(element(tag, {}, word) for pair in parts.items() for tag, word in _tagged(pair)),
            element("dt", {}, "causes"),
            element("dd", {}, causes),
            element("dt", {}, "remedy"),
            element("dd", {}, finding.remedy),
        ),
    )


def _tagged(pair: tuple[str, str]) -> Iterator[tuple[str, str]]:
    yield from zip(("dt", "dd"), pair, strict=True)


def _figures(record: Record, key: str) -> Iterator[ET.Element]:
    if record.coefficients.direct is not None:
        yield coefficients_figure(record.coefficients, key)
    if record.parts is not None and record.parts.x:
        yield split_figure(record.parts, key)
    for points in _sweeps(record.precision):
        yield precision_figure(points, key)


def _sweeps(precision: Sequence[PrecisionPoint]) -> Sequence[Sequence[PrecisionPoint]]:
    """Group points by sweep and dtype."""
    groups: dict[tuple[str, str], list[PrecisionPoint]] = {}
    for point in precision:
        groups.setdefault((point.sweep, point.dtype), []).append(point)
    return [*groups.values()]


def _errors(record: Record, key: str) -> ET.Element:
    compared_with = {"y": "the forward law", "dx": "", "dgamma": "", "dbeta": ""}
    rows = (
        element(
            "tr",
            {},
            element("th", {"scope": "row"}, name),
            _cell("number", _error(getattr(record.errors, name))),
            _cell("", reference or "the derivative of its forward pass"),
        )
        for name, reference in compared_with.items()
    )
    columns = {"result": "", "largest error": "number", "compared with": ""}
    return _table(f"{key}-errors", "Errors, relative to the size of the exact value", columns, rows)


def _error(error: float | None) -> str:
    return "-" if error is None else f"{error:.1e}"


def _probes(record: Record, key: str) -> ET.Element:
    styles = {"pass": "good", "fail": "bad", "skipped": "open"}
    rows = (
        element(
            "tr",
            {},
            element("th", {"scope": "row"}, f"{probe.code} {probe.name}"),
            _cell("word", element("span", {"class": styles[probe.result]}, probe.result)),
            _cell("", probe.what),
            _cell("number", f"{probe.seconds:.2f} s"),
        )
        for probe in record.probes
    )
    columns = {"probe": "", "result": "", "what was measured": "", "time": "number"}
    return _table(f"{key}-probes", "Results of the probes", columns, rows)


def _beside(error: float | None, exact: float | None) -> tuple[str, str]:
    """Write an error and the error of the exact law: NaN where it is not finite and should be."""
    not_finite = error is None and exact is not None
    return ("NaN" if not_finite else _error(error)), _error(exact)


def _precision(points: Sequence[PrecisionPoint], key: str) -> ET.Element:
    rows = (
        element(
            "tr",
            {},
            element("th", {"scope": "row"}, f"{point.sweep} {point.value:g}, {point.dtype}"),
            *(
                _cell("number", cell)
                for name in ("y", "dx")
                for cell in _beside(getattr(point, name), getattr(point, f"exact_{name}"))
            ),
        )
        for point in points
    )
    columns = {
        "x": "",
        **dict.fromkeys(("y", "y, exact law", "dx", "dx, exact law"), "number"),
    }
    return element(
        "details",
        {},
        element("summary", {}, "Precision in numbers"),
        _table(f"{key}-precision", "Errors, relative to the channel's scale", columns, rows),
    )

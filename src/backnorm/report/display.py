"""Results as a line, as a table, and as HTML for a notebook.

Each type of result says in `display_of` what its line, its columns and its rows are. A package
above this one registers its own types. All three forms follow from that.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import singledispatch
from typing import TYPE_CHECKING, Any, Final
from xml.etree import ElementTree as ET

import numpy as np
from rich.text import Text

from backnorm.audit.record import Record
from backnorm.audit.records import Records
from backnorm.convert.conversion import Conversion
from backnorm.convert.files.record import ModelFile
from backnorm.errors.base import counted
from backnorm.errors.printable import printable
from backnorm.report._elements import element
from backnorm.report._lines import Column, lines_of
from backnorm.report.to_text import codes, summary, table_of
from backnorm.results import (
    Forward,
    Gradients,
    SecondGradients,
    WeightedGradients,
    WeightedSecondGradients,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from backnorm._types import AnyArray

__all__ = ["Display", "display_of", "to_fragment", "to_line", "to_lines"]

MOST_CHANNELS: Final = 8
"""Channels of a forward pass that are shown; the arrays have all of them."""

IN_PYTHON: Final = "`findings` of the record has them in full."

WORDS: Final[dict[bool | None, str]] = {True: "sound", False: "not sound", None: "not judged"}


@dataclass(frozen=True, slots=True)
class Display:
    """What is shown of a result.

    Attributes
    ----------
    line
        The result in a line.
    columns, rows
        A table, or nothing if there are no rows.
    below
        Sentences below the table.
    width
        How many characters a line of the table may have.
    """

    line: str
    columns: Sequence[Column] = ()
    rows: Sequence[Sequence[Text]] = ()
    below: Sequence[str] = ()
    width: int = 100


@singledispatch
def display_of(result: Any) -> Display:
    """Return what is shown of a result."""
    return Display(type(result).__name__)


def to_line(result: object) -> str:
    """Write a result as its repr."""
    return f"<{type(result).__name__}: {printable(display_of(result).line, one_line=True)}>"


def to_lines(result: object) -> str:
    """Write a result as a table with sentences below."""
    display = display_of(result)
    table = lines_of(display.columns, display.rows, display.width) if display.rows else []
    lines = [line.plain for line in table]
    return "\n".join([*lines, *([""] if lines else []), *map(printable, display.below)]).rstrip()


def to_fragment(result: object) -> str:
    """Write the same as HTML."""
    display = display_of(result)
    parts = [element("p", {}, sentence) for sentence in display.below if sentence]
    if display.rows:
        heads = (element("th", {}, column.name) for column in display.columns)
        rows = (_row(row) for row in display.rows)
        head, body = element("thead", {}, element("tr", {}, *heads)), element("tbody", {}, *rows)
        parts.insert(0, element("table", {}, head, body))
    return ET.tostring(element("div", {}, *parts), encoding="unicode", method="html")


def _row(row: Iterable[Text]) -> ET.Element:
    return element("tr", {}, *(element("td", {}, cell.plain) for cell in row))


# --- the audit ------------------------------------------------------------------------------------


@display_of.register
def _(record: Record) -> Display:
    verdict = WORDS[record.sound] if record.audited else "not audited"
    if record.forward_only:
        verdict = "forward only"
    found = " ".join(dict.fromkeys(finding.code for finding in record.findings))
    through = "" if record.forward_only else f", through {record.through}"
    line = f"{record.target}, {verdict}{through}{', ' * bool(found)}{found}"
    columns, rows = table_of([record])
    why = [f"Not judged: {record.not_judged}."] if record.not_judged else []
    why += [f"Forward only: {record.forward_only}."] if record.forward_only else []
    below = [*codes([record], 92, IN_PYTHON), *why]
    return Display(line, columns, rows if record.audited else (), below)


@display_of.register
def _(records: Records) -> Display:
    columns, rows = table_of(records)
    below = [*codes(records, 92, IN_PYTHON), *summary(records)]
    return Display(summary(records)[0], columns, rows if records else (), below)


# --- the engine -----------------------------------------------------------------------------------


@display_of.register
def _(forward: Forward) -> Display:
    channels = len(forward.mean)
    y = forward.y
    line = f"y of shape {y.shape}, {y.dtype}; {forward.n} values in each of {channels} channels"
    columns = [Column("channel"), *(Column(n, right=True) for n in ("mean", "var", "inv_std"))]
    statistics = zip(forward.mean, forward.var, forward.inv_std, strict=True)
    rows = [[str(at), *map(_number, row)] for at, row in enumerate(statistics)]
    more = channels - MOST_CHANNELS
    below = [f"and {more} more channel{'s' * (more > 1)}"] if more > 0 else []
    return Display(line, columns, _texts(rows[:MOST_CHANNELS]), [*below, f"{line}."])


@display_of.register
def _(gradients: Gradients) -> Display:
    of_weights = ("dmask",) if isinstance(gradients, WeightedGradients) else ()
    return _arrays(gradients, ("dx", "dgamma", "dbeta", "dresidual", *of_weights))


@display_of.register
def _(gradients: SecondGradients) -> Display:
    of_weights = ("mask",) if isinstance(gradients, WeightedSecondGradients) else ()
    return _arrays(gradients, ("x", "dy", "gamma", *of_weights))


def _arrays(result: Gradients | SecondGradients, names: Iterable[str]) -> Display:
    """Return the display of a result that has arrays, some of which may be missing."""
    there = {name: getattr(result, name) for name in names}
    given = {name: array for name, array in there.items() if array is not None}
    line = ", ".join(f"{name} {array.shape}" for name, array in given.items())
    columns, rows = _table_of_arrays(given)
    return Display(line, columns, rows)


def _table_of_arrays(arrays: dict[str, AnyArray]) -> tuple[list[Column], list[list[Text]]]:
    names = ("array", "shape", "dtype", "smallest", "largest")
    columns = [Column(name, right=at >= 3) for at, name in enumerate(names)]  # noqa: PLR2004
    rows = [
        [name, str(np.shape(array)), str(array.dtype), *_limits(array)]
        for name, array in arrays.items()
    ]
    return columns, _texts(rows)


def _limits(array: AnyArray) -> tuple[str, str]:
    """Return the smallest and the largest value."""
    if not array.size:
        return "-", "-"
    return _number(array.min()), _number(array.max())


def _number(value: Any) -> str:
    return f"{float(value):.4g}"


def _texts(rows: Iterable[Iterable[str]]) -> list[list[Text]]:
    return [[Text(printable(cell)) for cell in row] for row in rows]


# --- conversions ----------------------------------------------------------------------------------


@display_of.register
def _(conversion: Conversion) -> Display:
    options = ", ".join(f"{name}={value}" for name, value in conversion.options.items())
    losses = [f"Not carried: {loss.what}" for loss in conversion.losses]
    columns, rows = _table_of_arrays(conversion.state)
    line = f"{', '.join(conversion.state)}; {options}"
    return Display(line, columns, rows, [f"Options: {options}.", *losses])


@display_of.register
def _(model: ModelFile) -> Display:
    layers = counted(len(model.layers), "normalization layer")
    others = counted(len(model.others), "other array")
    line = f"{model.path.name} ({model.format}), {layers}, {others}"
    columns = [Column("layer"), Column("dialect"), Column("C", right=True)]
    rows = _texts([one.name, one.dialect, str(one.channels)] for one in model.layers)
    return Display(line, columns, rows, [f"{line}.", *model.notes])

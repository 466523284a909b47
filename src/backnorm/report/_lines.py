"""A table as lines of text in which no cell is broken within a word.

The first column has names. A name that leaves the other columns too little room stands on a line
above its cells. The column that may wrap has words, such as codes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["Column", "lines_of"]

GAPS: Final = (2, 1)
"""Spaces between two columns: the first with which the lines fit, or else the last."""

FEWEST: Final = 7
"""Characters that a column which wraps keeps beside names: two codes."""

INDENT: Final = 2
"""Characters before the cells where each name stands on a line above."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column: its head, whether its cells end at the right, and whether they may wrap."""

    name: str
    right: bool = False
    wraps: bool = False


def lines_of(columns: Sequence[Column], rows: Sequence[Sequence[Text]], width: int) -> list[Text]:
    """Return the lines of a table.

    Parameters
    ----------
    columns
        The columns; the first has the names.
    rows
        A cell for each column.
    width
        Characters to fill at most, unless a name or the columns that cannot wrap need more.

    Returns
    -------
    list of Text
        The head, a rule, and the rows.
    """
    head = [Text(column.name) for column in columns]
    for gap in GAPS:
        between = gap * (len(columns) - 1)
        widths = _widths(columns, [head, *rows], width - between)
        if sum(widths) + between <= width:
            break
    lines = [*_row(columns, head, widths, gap), Text("─" * (sum(widths) + between))]
    for row in rows:
        lines += _row(columns, row, widths, gap)
    return lines


def _widths(columns: Sequence[Column], rows: Sequence[Sequence[Text]], width: int) -> list[int]:
    """Return the width of each column: names and what wraps share what the others leave.

    `width` is that of all columns together.
    """
    widths = [max(row[at].cell_len for row in rows) for at in range(len(columns))]
    wrapping = [at for at, column in enumerate(columns) if column.wraps]
    fixed = sum(w for at, w in enumerate(widths) if at and at not in wrapping)
    room = width - fixed
    most = room - sum(min(widths[at], FEWEST) for at in wrapping)
    fitting = [row[0].cell_len for row in rows if row[0].cell_len <= most]
    # Where most names stand above their cells, the others need not keep their room beside them.
    widths[0] = max(fitting) if 2 * len(fitting) >= len(rows) else INDENT
    for at in wrapping:
        words = [len(word) for row in rows for word in row[at].plain.split()]
        widths[at] = max(min(widths[at], room - widths[0]), *words, 0)
    return widths


def _row(
    columns: Sequence[Column], row: Sequence[Text], widths: Sequence[int], gap: int
) -> Iterator[Text]:
    name, *_ = row
    first = name
    if name.cell_len > widths[0]:
        yield name
        first = Text("")
    pieces = [
        _wrapped(cell, width) if column.wraps else [cell]
        for column, cell, width in zip(columns, (first, *row[1:]), widths, strict=True)
    ]
    for at in range(max(map(len, pieces))):
        line = Text("")
        for column, cells, width in zip(columns, pieces, widths, strict=True):
            cell = cells[at] if at < len(cells) else Text("")
            space = " " * (width - cell.cell_len)
            line.append_text(Text(space) + cell if column.right else cell + space)
            line.append(" " * gap)
        line.rstrip()
        yield line


def _wrapped(cell: Text, width: int) -> list[Text]:
    """Break a cell of words into lines."""
    lines = [""]
    for word in cell.plain.split():
        longer = f"{lines[-1]} {word}".strip()
        lines = [*lines[:-1], longer] if len(longer) <= width else [*lines, word]
    return [Text(line) for line in lines]

"""Prepares tables of many columns for a phone, where each row is shown as a small block.

Each cell gets the heading of its column, which assets/site.css shows above the value. The roles say
that it is a table still: browsers forget that where rows are shown as blocks.
"""

from __future__ import annotations

import re
from typing import Any

LEAST = 5
"""Columns of a table that does not fit on a phone."""

TABLE = re.compile(r"<table>\n<thead>.*?</table>", re.DOTALL)
ROW = re.compile(r"<tr>.*?</tr>", re.DOTALL)
HEADING = re.compile(r"<th(?: [^>]*)?>(.*?)</th>", re.DOTALL)
CELL = re.compile(r"<td")
MARKUP = re.compile(r"<[^>]*>")


def with_headings(content: str) -> str:
    """Return HTML in which the cells of tables of many columns have their headings."""
    return TABLE.sub(lambda table: labelled(table[0]), content)


def labelled(table: str) -> str:
    """Give each cell of a table its heading, if it has many columns."""
    headings = [MARKUP.sub("", heading) for heading in HEADING.findall(table)]
    if len(headings) < LEAST:
        return table

    def row(match: re.Match[str]) -> str:
        left = iter(headings)
        cells = CELL.sub(
            lambda cell: f'{cell[0]} role="cell" data-heading="{next(left)}"', match[0]
        )
        return cells.replace("<th", '<th role="columnheader"').replace("<tr", '<tr role="row"')

    return ROW.sub(row, table).replace(
        "<table", f'<table role="table" data-columns="{len(headings)}"'
    )


def on_page_content(content: str, **_: Any) -> str:
    """Mark a page; called by the site generator."""
    return with_headings(content)

"""The layers of a converted model as a table for people."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from backnorm.convert.files import LayerChange

__all__ = ["to_table"]


def to_table(changes: Sequence[LayerChange], *, width: int = 100, color: bool = False) -> str:
    """Write a table of converted layers.

    Parameters
    ----------
    changes
        One for each layer.
    width
        Columns to fill at most.
    color
        Whether to add the escape codes of a terminal.

    Returns
    -------
    str
        The text; the last column is the largest difference of the eval output on random inputs,
        relative to the largest output.
    """
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 2, 0, 0), show_edge=False)
    table.add_column("layer", overflow="fold")
    table.add_column("from", no_wrap=True)
    table.add_column("to", no_wrap=True)
    table.add_column("C", no_wrap=True, justify="right")
    table.add_column("options", overflow="fold")
    table.add_column("not carried", overflow="fold")
    table.add_column("difference", no_wrap=True, justify="right")
    for change in changes:
        options = "\n".join(f"{name}={_short(value)}" for name, value in change.options.items())
        table.add_row(
            Text(change.name),
            Text(change.source),
            Text(change.target),
            Text(str(change.channels)),
            Text(options),
            Text("; ".join(change.lost)),
            Text(f"{change.largest:.0e}" if change.largest else "0"),
        )
    page = io.StringIO()
    console = Console(
        file=page, width=width, force_terminal=color, no_color=not color, highlight=False
    )
    console.print(table)
    return "\n".join(line.rstrip() for line in page.getvalue().splitlines()) + "\n"


def _short(value: object) -> str:
    """Write a number with the precision of float32."""
    return f"{value:.7g}" if isinstance(value, float) else repr(value)

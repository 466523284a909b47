"""Moments of data as a table for people, and as JSON, schema 1."""

from __future__ import annotations

import io
import json
import math
from typing import TYPE_CHECKING, Any, Final

from rich import box
from rich.console import Console
from rich.table import Table

from backnorm import __version__
from backnorm.errors.printable import printable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from backnorm.moments import Moments

__all__ = ["MOMENTS_SCHEMA", "moments_json", "moments_table"]

MOMENTS_SCHEMA: Final = 1

COLUMNS: Final = ("mean", "var", "unbiased_var")


def moments_table(arrays: Mapping[str, Moments], *, width: int = 100, color: bool = False) -> str:
    """Write a table of each array: a line for each channel, all digits of float64."""
    page = io.StringIO()
    console = Console(
        file=page, width=width, force_terminal=color, no_color=not color, highlight=False
    )
    for name, moments in arrays.items():
        title = f"{printable(name, one_line=True)}: " if name else ""
        console.print(f"{title}{moments.n:,} values a channel", markup=False)
        table = Table(box=box.SIMPLE_HEAD)
        table.add_column("channel", justify="right")
        for column in COLUMNS:
            table.add_column(column, no_wrap=True)
        columns = [getattr(moments, column).tolist() for column in COLUMNS]
        for channel, values in enumerate(zip(*columns, strict=True)):
            table.add_row(str(channel), *map(repr, values))
        console.print(table)
    return page.getvalue()


def moments_json(arrays: Mapping[str, Moments]) -> str:
    """Write the same as JSON; what is not finite is a string, since JSON has no such numbers."""
    document = {
        "schema": MOMENTS_SCHEMA,
        "backnorm": __version__,
        "arrays": [
            {"name": name, "n": moments.n, "channels": moments.channels}
            | {
                column: [_number(v) for v in getattr(moments, column).tolist()]
                for column in COLUMNS
            }
            for name, moments in arrays.items()
        ],
    }
    return json.dumps(document, indent=1, allow_nan=False) + "\n"


def _number(value: float) -> Any:
    return value if math.isfinite(value) else str(value)

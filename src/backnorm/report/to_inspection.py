"""Inspections of model files as a table for people, and as JSON, schema 1."""

from __future__ import annotations

import importlib.resources
import io
import json
import math
from typing import TYPE_CHECKING, Any, Final

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from backnorm import __version__
from backnorm.convert.files._notes import few
from backnorm.convert.files.inspection import ENTRIES
from backnorm.dialects import row_of
from backnorm.errors.base import counted, name_in
from backnorm.errors.printable import printable
from backnorm.report.environment import environment

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from backnorm.convert.files import FileFinding, Inspection, LayerSummary

__all__ = ["INSPECTION_SCHEMA", "inspection_json", "inspection_schema", "inspection_table"]

INSPECTION_SCHEMA: Final = 1

MOST_NAMES: Final = 3
"""Values that are shown of a finding; each has the names of some layers."""

LABEL: Final = 10
"""Width of "expected" and the like."""


def inspection_table(result: Inspection, *, width: int = 100, color: bool = False) -> str:
    """Write a table of the layers of a file, and its findings in full.

    Parameters
    ----------
    result
        The inspection of a file.
    width
        Columns to fill at most.
    color
        Whether to add the escape codes of a terminal.

    Returns
    -------
    str
        The text. A value that the file does not tell has a ? behind it.
    """
    page = io.StringIO()
    console = Console(
        file=page, width=width, force_terminal=color, no_color=not color, highlight=False
    )
    layers = counted(len(result.layers), "normalization layer")
    others = counted(result.others, "other array")
    title = f"{name_in(result.file)} ({result.format}): {layers}, {others}"
    console.print(Text(title), soft_wrap=True)
    if result.layers:
        console.print()
        console.print(_table(result))
    for line in _findings(result):
        console.print(Text(line), soft_wrap=True)
    return "\n".join(line.rstrip() for line in page.getvalue().splitlines()) + "\n"


def _table(result: Inspection) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 2, 0, 0), show_edge=False)
    table.add_column("layer", overflow="fold")
    table.add_column("dialect", no_wrap=True)
    table.add_column("C", no_wrap=True, justify="right")
    for name in ("eps", "momentum", "gamma", "mean", "variance"):
        table.add_column(name, no_wrap=True)
    table.add_column("findings", overflow="fold")
    for layer in result.layers:
        codes = dict.fromkeys(f.code for f in result.findings if f.layer == layer.name)
        table.add_row(
            Text(name_in(layer.name)),
            Text(layer.dialect),
            Text(str(layer.channels)),
            *(Text(cell) for cell in _cells(layer)),
            Text(" ".join(codes)),
        )
    return table


def _cells(layer: LayerSummary) -> Iterator[str]:
    row = row_of(layer.dialect)
    for value, option in ((layer.eps, row.eps), (layer.momentum, row.momentum)):
        mark = "?" if option.known.name in layer.assumed else ""
        yield ("" if value is None else f"{value:.7g}") + mark
    for limits in (layer.gamma, layer.mean, layer.var):
        yield "" if limits is None else " to ".join(f"{value:.3g}" for value in limits)


def _findings(result: Inspection) -> Iterator[str]:
    """Write each finding once, with the layers that have it."""
    by_code: dict[str, list[FileFinding]] = {}
    for finding in result.findings:
        by_code.setdefault(finding.code, []).append(finding)
    for code in sorted(by_code):
        entry, group = ENTRIES[code], by_code[code]
        yield ""
        yield f"{code} {'note: ' if entry.is_note else ''}{entry.what}"
        names: dict[str, list[str]] = {}
        for finding in group:
            layers = names.setdefault(finding.got, [])
            layers += [] if finding.layer is None else [name_in(finding.layer)]
        for index, (got, layers) in enumerate([*names.items()][:MOST_NAMES]):
            label = "" if index else "got"
            where = f"{few(layers)}: " if layers else ""
            yield f"  {label:<{LABEL}}{where}{printable(got, one_line=True)}"
        if len(names) > MOST_NAMES:
            more = sum(len(layers) for layers in [*names.values()][MOST_NAMES:])
            yield f"  {'':<{LABEL}}and {counted(more, 'more layer')}"
        yield f"  {'expected':<{LABEL}}{entry.expected}"
        yield f"  {'fix':<{LABEL}}{entry.fix}"


def inspection_json(results: Sequence[Inspection], failures: Sequence[tuple[str, str]] = ()) -> str:
    """Write inspections as JSON.

    Parameters
    ----------
    results
        One for each file.
    failures
        The files that could not be read, and why.

    Returns
    -------
    str
        A document of schema 1; a number that is NaN or infinite is null.
    """
    document = {
        "schema": INSPECTION_SCHEMA,
        "backnorm": __version__,
        "environment": environment(),
        "files": [_document(result) for result in results],
        "failures": [{"file": file, "error": error} for file, error in failures],
    }
    return json.dumps(document, indent=2, allow_nan=False) + "\n"


def _document(result: Inspection) -> dict[str, Any]:
    return {
        "file": result.file,
        "format": result.format,
        "layers": [_layer(layer) for layer in result.layers],
        "other_arrays": result.others,
        "findings": [_finding(finding) for finding in result.findings],
        "notes": list(result.notes),
    }


def _layer(layer: LayerSummary) -> dict[str, Any]:
    return {
        "name": layer.name,
        "dialect": layer.dialect,
        "channels": layer.channels,
        "eps": layer.eps,
        "momentum": layer.momentum,
        "running_variance": layer.estimator,
        "gamma": _limits(layer.gamma),
        "mean": _limits(layer.mean),
        "variance": _limits(layer.var),
        "assumed": list(layer.assumed),
    }


def _limits(limits: tuple[float, float] | None) -> list[float | None] | None:
    if limits is None:
        return None
    return [value if math.isfinite(value) else None for value in limits]


def _finding(finding: FileFinding) -> dict[str, Any]:
    entry = ENTRIES[finding.code]
    return {
        "code": finding.code,
        "level": "note" if entry.is_note else "finding",
        "layer": finding.layer,
        "what": entry.what,
        "expected": entry.expected,
        "got": finding.got,
        "fix": entry.fix,
        "channels": list(finding.channels),
    }


def inspection_schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of what `inspection_json` writes.

    Returns
    -------
    dict
        The schema. Names that it does not list are allowed, since later versions add names.

    Examples
    --------
    >>> inspection_schema()["properties"]["schema"]
    {'const': 1}
    """
    files = importlib.resources.files("backnorm.report")
    text = (files / "inspect-1.schema.json").read_text("utf-8")
    schema: dict[str, Any] = json.loads(text)
    return schema

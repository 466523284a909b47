"""The tables of docs/performance.md, from a run that `make bench` wrote."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from backnorm.bench.summary import BenchRow, summary

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PASSES = ("forward", "backward")
GROUPS = ("all", "large")
RATIOS = ("to_copy", "to_torch", "slowest_to_torch")


def tables(path: Path) -> dict[str, str]:
    """Return the tables by the names of their marks."""
    document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    rows = [BenchRow(**(row | {"shape": tuple(row["shape"])})) for row in document["rows"]]
    made = {"ratios": ratios(rows), "milliseconds": milliseconds(rows)}
    return {name: "\n".join(lines) + "\n" for name, lines in made.items()}


def ratios(rows: list[BenchRow]) -> Iterator[str]:
    """Give a line for each suite, layout, operation and group of shapes."""
    yield "| suite | layout | operation | shapes | to copy | times PyTorch | slowest |"
    yield "|---|---|---|---|---|---|---|"
    for suite in dict.fromkeys(row.suite for row in rows):
        for layout, operations in summary([row for row in rows if row.suite == suite]).items():
            for op, groups in operations.items():
                for group in filter(groups.get, GROUPS):
                    values = groups[group]
                    known = (values.get(name) for name in RATIOS)
                    cells = " | ".join("" if v is None else f"{v:.2f}" for v in known)
                    yield f"| {suite} | {layout} | {op} | {group} | {cells} |"


def milliseconds(rows: list[BenchRow]) -> Iterator[str]:
    """Give a line for each of ResNet-50's shapes in NCHW."""
    yield "| shape, NCHW | copy | forward | backward | PyTorch forward | PyTorch backward |"
    yield "|---|---|---|---|---|---|"
    some = [row for row in rows if (row.suite, row.layout) == ("resnet50", "nchw")]
    for shape in dict.fromkeys(row.shape for row in some):
        ours = {row.op: row for row in some if row.shape == shape}
        forward, backward = (ours[name] for name in PASSES)
        seconds = [forward.copy, forward.backnorm, backward.backnorm]
        seconds += [row.to_frameworks["torch"] * row.backnorm for row in (forward, backward)]
        cells = " | ".join(f"{value * 1e3:.2f}" for value in seconds)
        yield f"| {'x'.join(map(str, shape))} | {cells} |"

"""Print the tables of docs/performance.md from what `make bench` wrote.

Run in the project's folder: .venv/bin/python tools/performance_table.py out/bench.json
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from backnorm.bench.summary import Row, summary

PASSES = ("forward", "backward")


def rows_of(path: str) -> list[Row]:
    """Return the rows of a file that `backnorm bench --json` wrote."""
    known: list[dict[str, Any]] = json.loads(Path(path).read_text(encoding="utf-8"))["rows"]
    return [Row(**(row | {"shape": tuple(row["shape"])})) for row in known]


def print_summary(rows: list[Row]) -> None:
    """Print a line for each suite, layout, operation and group of shapes."""
    print("| suite | layout | operation | shapes | to copy | to peer | slowest to peer |")
    print("|---|---|---|---|---|---|---|")
    for suite in dict.fromkeys(row.suite for row in rows):
        for layout, operations in summary([row for row in rows if row.suite == suite]).items():
            for op, groups in operations.items():
                for name, values in groups.items():
                    cells = " | ".join("" if v is None else f"{v:.2f}" for v in values.values())
                    print(f"| {suite} | {layout} | {op} | {name} | {cells} |")


def print_shapes(rows: list[Row]) -> None:
    """Print ResNet-50's shapes in NCHW, in milliseconds."""
    print("| shape, NCHW | copy | forward | backward | PyTorch forward | PyTorch backward |")
    print("|---|---|---|---|---|---|")
    some = [row for row in rows if (row.suite, row.layout) == ("resnet50", "nchw")]
    for shape in dict.fromkeys(row.shape for row in some):
        ours = {row.op: row for row in some if row.shape == shape}
        forward, backward = (ours[name] for name in PASSES)
        seconds = [forward.copy, forward.backnorm, backward.backnorm]
        seconds += [min(row.peers.values()) for row in (forward, backward)]
        cells = " | ".join(f"{value * 1e3:.2f}" for value in seconds)
        print(f"| {'x'.join(map(str, shape))} | {cells} |")


if __name__ == "__main__":
    measured = rows_of(sys.argv[1])
    print_summary(measured)
    print()
    print_shapes(measured)

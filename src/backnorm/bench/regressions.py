"""Which figures of a run are worse than those of a recorded run of the same machine."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from backnorm.bench.machine import machine
from backnorm.bench.summary import BenchRow, by_suite

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["compared"]

WORSE: Final = 1.15
"""A shape: its time, and its time in copies. Runs of one commit differ by up to a tenth."""

MEAN_WORSE: Final = 1.05
"""A weighted mean over a suite's shapes, in which the noise of single shapes cancels."""


def compared(rows: list[BenchRow], path: Path) -> list[str]:
    """Return lines that say which figures are worse than the recorded ones.

    Parameters
    ----------
    rows
        A run.
    path
        The JSON of a recorded run.

    Returns
    -------
    list of str
        One line a figure, or one line that says why there is none.
    """
    document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    here, there = machine(), document.get("machine")
    if here != there:
        words = "another machine" if there else "a machine that it does not name"
        return [f"Not compared with {path}, which was recorded on {words}."]
    recorded = {_key(row): row for row in map(_row, document["rows"])}
    pairs = [(row, recorded[_key(row)]) for row in rows if _key(row) in recorded]
    if not pairs:
        return [f"Not compared with {path}, which has no such shape with as many threads."]
    lines = [*_slower_shapes(pairs), *_worse_means(pairs)]
    if not lines:
        return [f"No figure is worse than in {path}."]
    return [f"{len(lines)} figures are worse than in {path}:", *lines]


def _key(row: BenchRow) -> tuple[object, ...]:
    return row.suite, row.op, row.layout, row.dtype, row.shape, row.threads


def _row(fields: dict[str, Any]) -> BenchRow:
    return BenchRow(**(fields | {"shape": tuple(fields["shape"])}))


def _slower_shapes(pairs: list[tuple[BenchRow, BenchRow]]) -> Iterator[str]:
    """Give a line for each shape whose fastest quarter is slower than the slowest quarter was.

    Its time in copies must have grown as well, so that a machine that is busy as a whole does not
    count.
    """
    for row, was in pairs:
        apart = row.quartiles["backnorm"][0] > was.quartiles["backnorm"][1]
        slower = row.backnorm / was.backnorm
        if apart and min(slower, row.to_copy / was.to_copy) > WORSE:
            shape = "x".join(map(str, row.shape))
            yield (
                f"  {row.suite} {shape} {row.layout} {row.op}: {row.backnorm * 1e3:.3f} ms, "
                f"recorded {was.backnorm * 1e3:.3f} ms ({slower:.2f} times)"
            )


def _worse_means(pairs: list[tuple[BenchRow, BenchRow]]) -> Iterator[str]:
    """Give a line for each mean that is worse, over the shapes that both runs have."""
    now, was = (_means(list(rows)) for rows in zip(*pairs, strict=True))
    for name, copies in now.items():
        if copies > MEAN_WORSE * was[name]:
            yield f"  {name}: {copies:.2f} copies, recorded {was[name]:.2f}"


def _means(rows: list[BenchRow]) -> dict[str, float]:
    return {
        f"{suite} {layout} {op}, {group}": values["to_copy"] or 0.0
        for suite, layouts in by_suite(rows).items()
        for layout, operations in layouts.items()
        for op, groups in operations.items()
        for group, values in groups.items()
    }

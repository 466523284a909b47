"""Which figures of a run are worse than those of a recorded run of the same machine."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from backnorm.bench.machine import machine

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from backnorm.bench.summary import BenchRow, Summary

__all__ = ["compared"]

WORSE: Final = 1.15
"""A shape: its time, and its time in copies. Runs of one commit differ by up to a tenth."""

MEAN_WORSE: Final = 1.05
"""A weighted mean over a suite's shapes, in which the noise of single shapes cancels."""


def compared(rows: list[BenchRow], summaries: dict[str, Summary], path: Path) -> list[str]:
    """Return lines that say which figures are worse than the recorded ones.

    Parameters
    ----------
    rows, summaries
        A run, and the summary of each of its suites.
    path
        The JSON of a recorded run.

    Returns
    -------
    list of str
        One line a figure, or one line that says why there is none.
    """
    recorded: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    here, there = machine(), recorded.get("machine")
    if here != there:
        words = "another machine" if there else "a machine that it does not name"
        return [f"Not compared with {path}, which was recorded on {words}."]
    lines = [*_slower_shapes(rows, recorded["rows"]), *_worse_means(summaries, recorded["summary"])]
    if not lines:
        return [f"No figure is worse than in {path}."]
    return [f"{len(lines)} figures are worse than in {path}:", *lines]


def _slower_shapes(rows: list[BenchRow], recorded: list[dict[str, Any]]) -> Iterator[str]:
    """Give a line for each row whose fastest quarter is slower than the slowest quarter was.

    Its time in copies must have grown as well, so that a machine that is busy as a whole does not
    count.
    """
    old = {_key(row): row for row in recorded}
    for row in rows:
        was = old.get((row.suite, row.op, row.layout, row.dtype, row.shape, row.threads))
        if was is None or "backnorm" not in was.get("quartiles", {}):
            continue
        apart = row.quartiles["backnorm"][0] > was["quartiles"]["backnorm"][1]
        slower = row.backnorm / was["backnorm"]
        if apart and min(slower, row.to_copy / was["to_copy"]) > WORSE:
            shape = "x".join(map(str, row.shape))
            yield (
                f"  {row.suite} {shape} {row.layout} {row.op}: {row.backnorm * 1e3:.3f} ms, "
                f"recorded {was['backnorm'] * 1e3:.3f} ms ({slower:.2f} times)"
            )


def _key(row: dict[str, Any]) -> tuple[object, ...]:
    names = ("suite", "op", "layout", "dtype", "shape", "threads")
    return tuple(tuple(row[name]) if name == "shape" else row[name] for name in names)


def _worse_means(
    summaries: dict[str, Summary], recorded: dict[str, dict[str, Any]]
) -> Iterator[str]:
    for suite, layouts in summaries.items():
        for layout, operations in layouts.items():
            for op, groups in operations.items():
                old = recorded.get(suite, {}).get(layout, {}).get(op, {})
                for group, values in groups.items():
                    now, was = values["to_copy"], old.get(group, {}).get("to_copy")
                    if now and was and now > MEAN_WORSE * was:
                        yield (
                            f"  {suite} {layout} {op}, {group}: {now:.2f} copies, "
                            f"recorded {was:.2f}"
                        )

"""One run of `backnorm bench`, made of several."""

from __future__ import annotations

import json
from dataclasses import asdict
from statistics import median
from typing import TYPE_CHECKING, Any, Final

from backnorm.bench.suites import BenchCase
from backnorm.bench.summary import BenchRow, by_suite

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

__all__ = ["median_run", "to_json"]

DIGITS: Final = 4
"""Of each number that is kept: more are noise, and make the file three times as long."""


def median_run(paths: Iterable[Path]) -> dict[str, Any]:
    """Return one run made of several, which other programs may have disturbed.

    Each time is the median over the runs of a call's lower quartile: where threads wait for a core
    that another program has, a median within a run says more about that program.
    """
    runs = [json.loads(path.read_text(encoding="utf-8")) for path in paths]
    same: dict[tuple[object, ...], list[dict[str, Any]]] = {}
    for run in runs:
        for row in run["rows"]:
            same.setdefault(_key(row), []).append(row)
    rows = [_median_row(found) for found in same.values()]
    return {**runs[0], "runs": len(runs), "rows": rows, "summary": by_suite(rows)}


def to_json(run: dict[str, Any]) -> str:
    """Return the text of a file for a run."""
    rows = [asdict(row) for row in run["rows"]]
    return json.dumps(_rounded({**run, "rows": rows}), indent=1) + "\n"


def _key(row: dict[str, Any]) -> tuple[object, ...]:
    return row["suite"], row["op"], row["layout"], row["dtype"], tuple(row["shape"])


def _median_row(rows: list[dict[str, Any]]) -> BenchRow:
    first = rows[0]
    quartiles = {
        name: (_middle(rows, name, 0), _middle(rows, name, 1)) for name in first["quartiles"]
    }
    seconds = {name: low for name, (low, _) in quartiles.items()}
    peers = {name: seconds[name] for name in first["peers"]}
    case = BenchCase(first["suite"], tuple(first["shape"]), first["weight"])
    return BenchRow.of(
        case, first["op"], first["layout"], first["dtype"], first["threads"], seconds, peers,
        cache=first["cache"], quartiles=quartiles, errors=first["errors"],
    )  # fmt: skip


def _middle(rows: list[dict[str, Any]], call: str, end: int) -> float:
    return median(row["quartiles"][call][end] for row in rows)


def _rounded(value: Any) -> Any:
    """Return a document whose fractions have few digits."""
    match value:
        case float():
            return float(f"{value:.{DIGITS}g}")
        case dict():
            return {name: _rounded(item) for name, item in value.items()}
        case list() | tuple():
            return [_rounded(item) for item in value]
    return value

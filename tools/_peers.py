"""The tables of docs/performance.md beside PyTorch and oneDNN."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from backnorm.bench.suites import SUITES
from backnorm.bench.summary import BenchRow

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["tables"]

NETWORKS: Final = ("resnet50", "mobilenetv2")
COLUMNS: Final = tuple((suite, layout) for suite in NETWORKS for layout in ("nchw", "nhwc"))
PASSES: Final = ("forward", "backward")

HEAD: Final = 2
"""Lines of a table before its first row."""

BEHIND: Final = 0.9
"""Below this share of oneDNN's speed a shape is listed with what limits it."""

SLOWER: Final = 0.95
"""Of PyTorch's speed; what is missing to 1 is noise."""

AT_MEMORY: Final = 1.15
"""Times the bound of a pass: nothing but its loads and stores is left."""

AT_SUMS: Final = 1.4
"""In cache, sums in float64 take up to this many times the bound (docs/performance.md)."""


def tables(path: Path) -> dict[str, str]:
    """Return the tables by the names of their marks."""
    document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    rows = [BenchRow(**(row | {"shape": tuple(row["shape"])})) for row in document["rows"]]
    made = {
        "cached": _cached(document["summary"]),
        "sizes": _sizes(document["summary"]),
        "behind": _behind(rows),
        "slower": _slower(rows),
        "peers' errors": _errors(rows),
    }
    return {name: _text(list(lines)) for name, lines in made.items()}


def _text(lines: list[str]) -> str:
    """Return a table, or a word where it has a head and nothing else."""
    return "\n".join(lines) + "\n" if len(lines) > HEAD else "None.\n"


def _cached(summary: dict[str, Any]) -> Iterator[str]:
    """Give a line for each peer: a column for each network and layout, forward / backward."""
    yield f"| up to 8 MiB, weighted | {' | '.join(f'{s}, {layout}' for s, layout in COLUMNS)} |"
    yield "|---|" + "---|" * len(COLUMNS)
    for title, name in (
        ("times PyTorch", "to_torch"),
        ("times oneDNN in the same layout", "to_onednn"),
        ("slowest shape, times PyTorch", "slowest_to_torch"),
        ("slowest shape, times oneDNN", "slowest_to_onednn"),
    ):
        cells = (_passes(summary, "to 8 MiB", *of, name) for of in COLUMNS)
        yield f"| {title} | {' | '.join(cells)} |"


def _passes(summary: dict[str, Any], group: str, suite: str, layout: str, name: str) -> str:
    of = summary[suite][layout]
    values = (of[op].get(group, {}).get(name) for op in PASSES)
    return " / ".join("-" if value is None else f"{value:.2f}" for value in values)


def _sizes(summary: dict[str, Any]) -> Iterator[str]:
    """Give a line for each network, layout and size: forward / backward."""
    yield "| network | layout | in | to bound | to copy | times PyTorch | times oneDNN |"
    yield "|---|---|---|---|---|---|---|"
    for suite, layout in COLUMNS:
        for group in ("L2", "L3", "memory"):
            if group in summary[suite][layout]["forward"]:
                names = ("to_bound", "to_copy", "to_torch", "to_onednn")
                cells = (_passes(summary, group, suite, layout, name) for name in names)
                yield f"| {suite} | {layout} | {group} | {' | '.join(cells)} |"


def _behind(rows: list[BenchRow]) -> Iterator[str]:
    """Give a line for each shape below 0.9 of oneDNN: the bound tells what limits it."""
    names = ("ms (quartiles)", "oneDNN, ms", "times oneDNN", "to bound", "limited by")
    yield f"| shape | layout | pass | in | {' | '.join(names)} |"
    yield "|---|---|---|---|" + "---|" * len(names)
    for row in _distinct(rows):
        ratio = row.to_frameworks.get("onednn", 1.0)
        if ratio < BEHIND:
            low, high = row.quartiles["backnorm"]
            times = f"{row.backnorm * 1e3:.3f} ({low * 1e3:.3f} to {high * 1e3:.3f})"
            theirs = f"{row.peers['onednn'] * 1e3:.3f} | {ratio:.2f}"
            yield f"| {_case(row)} | {times} | {theirs} | {row.to_bound:.2f} | {_limit(row)} |"


def _limit(row: BenchRow) -> str:
    if row.to_bound is None or row.to_bound > AT_SUMS:
        return "the walk"
    return "memory" if row.to_bound <= AT_MEMORY else "float64 sums"


def _slower(rows: list[BenchRow]) -> Iterator[str]:
    """Give a line for each shape that is slower than PyTorch by more than noise."""
    yield "| shape | layout | pass | in | ms | times PyTorch |"
    yield "|---|---|---|---|---|---|"
    for row in _distinct(rows):
        ratio = row.to_frameworks.get("torch", 1.0)
        if ratio < SLOWER:
            yield f"| {_case(row)} | {row.backnorm * 1e3:.3f} | {ratio:.2f} |"


def _case(row: BenchRow) -> str:
    return f"{'x'.join(map(str, row.shape))} | {row.layout} | {row.op} | {row.cache}"


def _distinct(rows: list[BenchRow]) -> list[BenchRow]:
    """Return the rows of the networks, each shape once."""
    found = {(row.shape, row.layout, row.op): row for row in rows if row.suite in NETWORKS}
    return list(found.values())


def _errors(rows: list[BenchRow]) -> Iterator[str]:
    """Give a line for each layout: the largest errors of both, in units of rounding."""
    results = {"y": "forward", "dx": "backward", "dgamma": "backward", "dbeta": "backward"}
    yield "| layout | " + " | ".join(f"{name}: backnorm / oneDNN" for name in results) + " |"
    yield "|---|" + "---|" * len(results)
    for layout in dict.fromkeys(row.layout for row in rows):
        some = [row for row in rows if row.layout == layout and row.suite in SUITES]
        cells = []
        for result, op in results.items():
            errors = [row.errors for row in some if row.op == op and "onednn" in row.errors]
            largest = (max(e[of][result] for e in errors) for of in ("backnorm", "onednn"))
            cells.append(" / ".join(f"{value:.2g}" for value in largest))
        yield f"| {layout} | {' | '.join(cells)} |"

"""The times of backnorm.jax in docs/performance.md, from runs that `make bench-jax` wrote."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

from backnorm.bench.summary import BenchRow

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PEERS = {
    "flax formula": "Flax's formula",
    "jax.numpy": "two passes",
    "flax layer": "Flax's layer",
}
"""The timed calls and what the page calls them."""

PLACES = {"nchw": "first", "nhwc": "last"}

LARGE = 10e6
"""Bytes of x from which on the aims hold."""

AIMS = {"flax formula": 2.0, "jax.numpy": 4.0}
LEAST_AIM = 1.5


def tables(path: Path) -> dict[str, str]:
    """Return the text and the table by the name of their marks; nothing without a record."""
    if not path.is_file():
        return {}
    document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    rows = [BenchRow(**(row | {"shape": tuple(row["shape"])})) for row in document["rows"]]
    text = [*_said(document, rows), "", *_table(rows), "", *_aims(rows)]
    return {"jax": "\n".join(text) + "\n"}


def _said(document: dict[str, Any], rows: list[BenchRow]) -> Iterator[str]:
    versions = document["environment"]
    names = " and ".join(
        f"{n} {versions[n.lower()]}" for n in ("JAX", "Flax") if n.lower() in versions
    )
    runs = document.get("runs", 1)
    times = f"Medians of {runs} runs" if runs > 1 else "Lower quartiles of one run"
    yield (
        "Forward and backward pass, compiled, float32: the milliseconds of `batch_norm`, and how "
        "many times as long jitted functions take with Flax's formula (E[x^2] - E[x]^2) and with "
        f"two passes of jax.numpy, and Flax's own layer. {times} of `backnorm bench --op jax`, "
        f"{rows[0].threads} threads, {names}:"
    )


def _table(rows: list[BenchRow]) -> Iterator[str]:
    """Give a line for each shape and layout, and the geometric means of each layout."""
    peers = [name for name in PEERS if any(name in row.peers for row in rows)]
    yield "| shape | channels | ms | " + " | ".join(PEERS[name] for name in peers) + " |"
    yield "|---|---|---|" + "---|" * len(peers)
    for row in sorted(rows, key=lambda row: -row.bytes):  # sorted keeps the layouts of a shape
        shape = "x".join(map(str, row.shape))
        ratios = _cells([row.peers[name] / row.backnorm for name in peers])
        yield f"| {shape} | {PLACES[row.layout]} | {row.backnorm * 1e3:.2f} | {ratios} |"
    for layout, place in PLACES.items():
        some = [row for row in rows if row.layout == layout]
        means = [_mean([row.peers[name] / row.backnorm for row in some]) for name in peers]
        if some:
            yield f"| geometric mean | {place} | | {_cells(means)} |"


def _aims(rows: list[BenchRow]) -> Iterator[str]:
    """Say how far the aims are reached, and by which shapes they are missed."""
    large = [row for row in rows if math.prod(row.shape) * 4 >= LARGE]
    means = []
    for name, aim in AIMS.items():
        by_place = [
            _mean([row.peers[name] / row.backnorm for row in large if row.layout == layout])
            for layout in PLACES
        ]
        both = " and ".join(f"{mean:.2f}" for mean in by_place)
        means.append(f"{both} for {PEERS[name]} (the aim: {aim:g})")
    least = min(row.peers[name] / row.backnorm for row in large for name in AIMS)
    yield (
        "Arrays of 10 MB and more, channels first and last, geometric means: "
        f"{'; '.join(means)}. The least ratio is {least:.2f} (the aim: {LEAST_AIM:g})."
    )
    slower = [
        f"{'x'.join(map(str, row.shape))}, channels {PLACES[row.layout]} ({ratio:.2f})"
        for row in rows
        if (ratio := _beside_flax(row)) < 1
    ]
    if slower:
        yield f"Slower than Flax, against the aim: {'; '.join(slower)}."
    else:
        yield "No shape is slower than Flax."


def _beside_flax(row: BenchRow) -> float:
    """Return how many times as long the faster of Flax's takes."""
    return min(time for name, time in row.peers.items() if name.startswith("flax")) / row.backnorm


def _cells(ratios: list[float]) -> str:
    return " | ".join(f"{ratio:.1f}" for ratio in ratios)


def _mean(ratios: list[float]) -> float:
    return math.exp(sum(map(math.log, ratios)) / max(len(ratios), 1))

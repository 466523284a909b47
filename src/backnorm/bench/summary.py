"""A row of ratios from seconds, and a summary of rows."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from backnorm._types import Shape
    from backnorm.bench.suites import BenchCase

__all__ = ["LARGE_BYTES", "BenchRow", "summary"]

# "Large" shapes: they fit no cache, so a copy runs at the speed of memory.
LARGE_BYTES = 50_000_000

_WIDTH = {"float64": 8, "float32": 4, "float16": 2, "bfloat16": 2}


@dataclass(frozen=True)
class BenchRow:
    """One shape, layout and operation: seconds, and two ratios.

    Attributes
    ----------
    backnorm, backnorm_given
        The engine, with a recycled and with a given output; None if the call takes no output.
    copy
        A copy of x, the faster of plain and streaming stores, with the same threads.
    peers
        Each framework's seconds.
    to_copy
        backnorm / copy.
    to_fastest_peer
        Fastest peer / backnorm: above 1 the engine is faster. None without a peer.
    sums
        The engine's law of sums.
    """

    suite: str
    op: str
    layout: str
    dtype: str
    shape: Shape
    weight: int
    threads: int
    backnorm: float
    backnorm_given: float | None
    copy: float
    peers: dict[str, float]
    to_copy: float
    to_fastest_peer: float | None
    sums: str = "float64"

    @classmethod
    def of(  # noqa: PLR0917 - the fields of one job
        cls,
        case: BenchCase,
        op: str,
        layout: str,
        dtype: str,
        threads: int,
        seconds: dict[str, float],
        peers: dict[str, float],
    ) -> BenchRow:
        """Return a row for measured seconds."""
        ours, given = seconds["backnorm"], seconds.get("backnorm (out given)")
        copy = min(seconds["copy (plain)"], seconds["copy (streaming)"])
        fastest = min(peers.values()) / ours if peers else None
        return cls(
            case.suite, op, layout, dtype, case.shape, case.weight, threads,
            ours, given, copy, peers, ours / copy, fastest,
        )  # fmt: skip

    @property
    def bytes(self) -> int:
        """Bytes of x."""
        return math.prod(self.shape) * _WIDTH[self.dtype]


def summary(rows: list[BenchRow]) -> dict[str, dict[str, dict[str, dict[str, float | None]]]]:
    """Return layout -> operation -> "all" or "large" -> weighted geometric means, and the worst."""
    result: dict[str, dict[str, dict[str, dict[str, float | None]]]] = {}
    for layout, op in sorted({(row.layout, row.op) for row in rows}):
        members = [row for row in rows if (row.layout, row.op) == (layout, op)]
        large = [row for row in members if row.bytes >= LARGE_BYTES]
        groups = {"all": members} | ({"large": large} if large else {})
        result.setdefault(layout, {})[op] = {name: _group(some) for name, some in groups.items()}
    return result


def _group(rows: list[BenchRow]) -> dict[str, float | None]:
    ratios = [(row.to_fastest_peer, row.weight) for row in rows if row.to_fastest_peer is not None]
    return {
        "to_copy": _mean((row.to_copy, row.weight) for row in rows),
        "to_fastest_peer": _mean(ratios) if ratios else None,
        "slowest_to_fastest_peer": min(ratio for ratio, _ in ratios) if ratios else None,
    }


def _mean(weighted: Iterable[tuple[float, int]]) -> float:
    """Return the geometric mean, in which ratios of 2 and 1/2 cancel."""
    pairs = list(weighted)
    total = sum(weight for _, weight in pairs)
    return math.exp(sum(weight * math.log(ratio) for ratio, weight in pairs) / total)

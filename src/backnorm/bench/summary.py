"""A row of ratios from seconds, and a summary of rows."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from backnorm.bench.bounds import BOUND

if TYPE_CHECKING:
    from collections.abc import Iterable

    from backnorm._types import Shape
    from backnorm.bench.suites import BenchCase

    Summary = dict[str, dict[str, dict[str, dict[str, float | None]]]]

__all__ = ["CACHED_BYTES", "LARGE_BYTES", "BenchRow", "by_suite", "framework", "summary"]

# "Large" shapes: they fit no cache, so a copy runs at the speed of memory.
LARGE_BYTES = 50_000_000

# Above this the engine stores past the caches, and a copy runs at the speed of memory.
CACHED_BYTES = 8 * 2**20

_WIDTH = {"float64": 8, "float32": 4, "float16": 2, "bfloat16": 2}


@dataclass(frozen=True)
class BenchRow:
    """One shape, layout and operation: seconds, and three ratios.

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
    cache
        Which memory serves the case: "L2", "L3" or "memory".
    bound, to_bound
        Loops that read and write what the operation must, and backnorm / bound. None for
        operations that have no such loops.
    quartiles
        Of each call's seconds, the lower and the upper quartile.
    errors
        Of backnorm and of a peer that is given the same arrays: each result's largest error in
        units of rounding, see `accuracy.errors`.
    latencies
        Of the operation "idle": name of call -> when -> seconds. The other times are those after a
        rest.
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
    cache: str = ""
    bound: float | None = None
    to_bound: float | None = None
    quartiles: dict[str, tuple[float, float]] = field(default_factory=dict)
    errors: dict[str, dict[str, float]] = field(default_factory=dict)
    latencies: dict[str, dict[str, float]] | None = None
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
        *,
        cache: str = "",
        quartiles: dict[str, tuple[float, float]] | None = None,
        errors: dict[str, dict[str, float]] | None = None,
        latencies: dict[str, dict[str, float]] | None = None,
    ) -> BenchRow:
        """Return a row for measured seconds."""
        ours, given = seconds["backnorm"], seconds.get("backnorm (out given)")
        copy = min(seconds["copy (plain)"], seconds["copy (streaming)"])
        fastest = min(peers.values()) / ours if peers else None
        loops = [value for name, value in seconds.items() if name.startswith(BOUND)]
        bound = min(loops) if loops else None
        return cls(
            case.suite, op, layout, dtype, case.shape, case.weight, threads,
            ours, given, copy, peers, ours / copy, fastest,
            cache, bound, ours / bound if bound else None, quartiles or {}, errors or {}, latencies,
        )  # fmt: skip

    @property
    def bytes(self) -> int:
        """Bytes of x."""
        return math.prod(self.shape) * _WIDTH[self.dtype]

    @property
    def to_frameworks(self) -> dict[str, float]:
        """Each framework's time over backnorm's; the faster of its ways counts."""
        found: dict[str, float] = {}
        for name, seconds in self.peers.items():
            ratio, of = seconds / self.backnorm, framework(name)
            found[of] = min(ratio, found.get(of, ratio))
        return found


def framework(peer: str) -> str:
    """Return the framework of a timed call, such as "torch" of "torch (out given)"."""
    return peer.partition(" (")[0]


def by_suite(rows: list[BenchRow]) -> dict[str, Summary]:
    """Return the summary of each suite: weights of different networks do not add up."""
    suites = dict.fromkeys(row.suite for row in rows)
    return {suite: summary([row for row in rows if row.suite == suite]) for suite in suites}


def summary(rows: list[BenchRow]) -> Summary:
    """Return layout -> operation -> group of shapes -> weighted geometric means, and the slowest.

    The groups are "all", and where there are such shapes: "L2", "L3", "to 8 MiB" (both of these),
    "memory" (above) and "large" (50 MB and more).
    """
    result: Summary = {}
    for layout, op in sorted({(row.layout, row.op) for row in rows}):
        members = [row for row in rows if (row.layout, row.op) == (layout, op)]
        result.setdefault(layout, {})[op] = {
            name: _group(some) for name, some in _groups(members).items() if some
        }
    return result


def _groups(rows: list[BenchRow]) -> dict[str, list[BenchRow]]:
    return {
        "all": rows,
        "L2": [row for row in rows if row.cache == "L2"],
        "L3": [row for row in rows if row.cache == "L3"],
        "to 8 MiB": [row for row in rows if row.cache and row.bytes <= CACHED_BYTES],
        "memory": [row for row in rows if row.cache == "memory"],
        "large": [row for row in rows if row.bytes >= LARGE_BYTES],
    }


def _group(rows: list[BenchRow]) -> dict[str, float | None]:
    found = [(row.to_fastest_peer, row.weight) for row in rows]
    result = {
        "to_copy": _mean((row.to_copy, row.weight) for row in rows),
        "to_bound": _known_mean([(row.to_bound, row.weight) for row in rows]),
        "to_fastest_peer": _known_mean(found),
        "slowest_to_fastest_peer": _least(found),
    }
    for name in dict.fromkeys(name for row in rows for name in row.to_frameworks):
        ratios = [(row.to_frameworks.get(name), row.weight) for row in rows]
        result |= {f"to_{name}": _known_mean(ratios), f"slowest_to_{name}": _least(ratios)}
    return result


def _known(ratios: list[tuple[float | None, int]]) -> list[tuple[float, int]]:
    return [(ratio, weight) for ratio, weight in ratios if ratio is not None]


def _known_mean(ratios: list[tuple[float | None, int]]) -> float | None:
    known = _known(ratios)
    return _mean(known) if known else None


def _least(ratios: list[tuple[float | None, int]]) -> float | None:
    return min((ratio for ratio, _ in _known(ratios)), default=None)


def _mean(weighted: Iterable[tuple[float, int]]) -> float:
    """Return the geometric mean, in which ratios of 2 and 1/2 cancel."""
    pairs = list(weighted)
    total = sum(weight for _, weight in pairs)
    return math.exp(sum(weight * math.log(ratio) for ratio, weight in pairs) / total)

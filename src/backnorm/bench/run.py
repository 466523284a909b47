"""Time each case of a suite beside copies and peers, and collect the rows."""

from __future__ import annotations

import gc
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from backnorm.bench import engine, peers
from backnorm.bench.others import outside
from backnorm.bench.suites import BenchCase, cases
from backnorm.bench.summary import BenchRow, summary
from backnorm.bench.timing import alternate
from backnorm.kernels.threads import get_num_threads
from backnorm.report.environment import environment

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from backnorm.bench.options import BenchOptions

    Peer = Callable[[str, str, str, list[int], int], dict[str, Callable[[], object]]]

__all__ = ["run"]


def run(options: BenchOptions) -> Iterator[BenchRow]:
    """Time one case after another, and yield a row for each."""
    for case in cases(options.suite):
        for layout in options.layouts:
            for op in options.operations:
                yield _time(case, layout, op, options)


def result(rows: list[BenchRow]) -> dict[str, Any]:
    """Return the rows and their summary, ready for JSON."""
    return {
        "schema": 1,
        "environment": environment(),
        "rows": [asdict(row) for row in rows],
        "summary": summary(rows),
    }


def _time(case: BenchCase, layout: str, op: str, options: BenchOptions) -> BenchRow:
    arrays = engine.data(case.shape, layout, options.dtype)
    threads = get_num_threads()
    if op == engine.AUTOGRAD:
        calls, peer_calls = engine.autograd_calls(arrays, threads)
    else:
        calls, peer_calls = engine.calls(op, arrays, options.sums), {}
    ours = set(calls)
    if op in peers.OPERATIONS:
        for peer in options.peers:
            make: Peer = peers.PEERS[peer]
            peer_calls |= make(op, layout, options.dtype, list(case.shape), threads)
    seconds = alternate(calls | peer_calls, options.rounds)
    others = {name: value for name, value in seconds.items() if name not in ours}
    for peer, interpreter in options.interpreters:
        others |= outside(peer, interpreter, case, op, layout, options, threads)
    del arrays, calls, peer_calls
    gc.collect()
    row = BenchRow.of(case, op, layout, options.dtype, threads, seconds, others)
    return replace(row, sums=options.sums)

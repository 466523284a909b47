"""Time each case of a suite beside copies and peers, and collect the rows."""

from __future__ import annotations

import gc
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from backnorm.bench import engine, peers
from backnorm.bench.idle import IDLE, RESTED, latencies
from backnorm.bench.others import outside
from backnorm.bench.suites import BenchCase, cases
from backnorm.bench.summary import BenchRow, summary
from backnorm.bench.timing import alternate
from backnorm.kernels.threads import get_num_threads
from backnorm.report.environment import environment

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from backnorm.bench.options import BenchOptions

    PeerCalls = dict[str, Callable[[], object]]
    Peer = Callable[[str, str, str, list[int], int], PeerCalls]

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
    measured = None
    if op == IDLE:
        forward = engine.calls("forward", arrays)
        ours = set(forward)
        measured = latencies(
            lambda count: forward | _peer_calls("forward", case, layout, options, count),
            threads,
            options.rounds,
        )
        seconds = {name: times[RESTED] for name, times in measured.items()}
        del forward
    else:
        if op == engine.AUTOGRAD:
            calls, peer_calls = engine.autograd_calls(arrays, threads)
        else:
            calls = engine.calls(op, arrays)
            peer_calls = _peer_calls(op, case, layout, options, threads)
        ours = set(calls)
        seconds = alternate(calls | peer_calls, options.rounds)
        del calls, peer_calls
    others = {name: value for name, value in seconds.items() if name not in ours}
    for peer, interpreter in options.interpreters:
        others |= outside(peer, interpreter, case, op, layout, options, threads)
    del arrays
    gc.collect()
    return BenchRow.of(case, op, layout, options.dtype, threads, seconds, others, measured)


def _peer_calls(
    op: str, case: BenchCase, layout: str, options: BenchOptions, threads: int
) -> PeerCalls:
    """Return the calls of all frameworks of this environment."""
    calls: PeerCalls = {}
    if op in peers.OPERATIONS:
        for peer in options.peers:
            make: Peer = peers.PEERS[peer]
            calls |= make(op, layout, options.dtype, list(case.shape), threads)
    return calls

"""Time each case of a suite beside copies and peers, and collect the rows."""

from __future__ import annotations

import gc
from dataclasses import asdict, replace
from statistics import median
from typing import TYPE_CHECKING, Any

from backnorm.bench import accuracy, engine, onednn, peers
from backnorm.bench.bounds import bound_calls
from backnorm.bench.idle import IDLE, RESTED, latencies
from backnorm.bench.machine import cache_of, machine
from backnorm.bench.others import outside
from backnorm.bench.suites import BenchCase, cases
from backnorm.bench.summary import BenchRow, by_suite
from backnorm.bench.timing import quartiles, sampled
from backnorm.kernels.threads import get_num_threads
from backnorm.report.environment import environment, version_of

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
    of_jax = {row.op for row in rows} & {engine.JAX}
    versions = {name: version_of(name) for name in ("jax", "jaxlib", "flax") if of_jax}
    return {
        "schema": 2,
        "environment": environment() | {name: v for name, v in versions.items() if v},
        "machine": machine(),
        "rows": [asdict(row) for row in rows],
        "summary": by_suite(rows),
    }


def _time(case: BenchCase, layout: str, op: str, options: BenchOptions) -> BenchRow:
    if op == IDLE:
        return _time_idle(case, layout, options)
    arrays = engine.data(case.shape, layout, options.dtype)
    threads = get_num_threads()
    if op == engine.AUTOGRAD:
        calls, peer_calls = engine.autograd_calls(arrays, threads)
    elif op == engine.JAX:
        calls, peer_calls = engine.jax_calls(arrays, layout)
    else:
        calls, peer_calls = engine.calls(op, arrays, options.sums), {}
        peer_calls |= _peer_calls(op, case, layout, options, threads)
    errors = {"backnorm": accuracy.errors(op, arrays, accuracy.named(calls["backnorm"]()))}
    calls |= bound_calls(op, layout, arrays)
    ours = set(calls)
    layer = None
    if onednn.NAME in options.peers:
        layer = onednn.layer(onednn.library(), op, layout, arrays, threads)
    if layer is not None:
        errors[onednn.NAME] = accuracy.errors(op, arrays, onednn.results(op, layer))
        peer_calls[onednn.NAME] = layer
    samples = sampled(calls | peer_calls, options.rounds, apart=peer_calls)
    seconds = {name: median(values) for name, values in samples.items()}
    others = {name: value for name, value in seconds.items() if name not in ours}
    for peer, interpreter in options.interpreters:
        others |= outside(peer, interpreter, case, op, layout, options, threads)
    cache = cache_of(arrays.x.nbytes, threads)
    del arrays, calls, peer_calls, layer
    gc.collect()
    row = BenchRow.of(
        case, op, layout, options.dtype, threads, seconds, others,
        cache=cache,
        quartiles={name: quartiles(values) for name, values in samples.items()},
        errors=errors,
    )  # fmt: skip
    return replace(row, sums=options.sums)


def _time_idle(case: BenchCase, layout: str, options: BenchOptions) -> BenchRow:
    arrays = engine.data(case.shape, layout, options.dtype)
    threads = get_num_threads()
    forward = engine.calls("forward", arrays, options.sums)
    measured = latencies(
        lambda count: forward | _peer_calls("forward", case, layout, options, count),
        threads,
        options.rounds,
    )
    seconds = {name: times[RESTED] for name, times in measured.items()}
    others = {name: value for name, value in seconds.items() if name not in forward}
    cache = cache_of(arrays.x.nbytes, threads)
    row = BenchRow.of(
        case, IDLE, layout, options.dtype, threads, seconds, others,
        cache=cache,
        latencies=measured,
    )  # fmt: skip
    return replace(row, sums=options.sums)


def _peer_calls(
    op: str, case: BenchCase, layout: str, options: BenchOptions, threads: int
) -> PeerCalls:
    """Return the calls of all frameworks of this environment."""
    calls: PeerCalls = {}
    if op in peers.OPERATIONS:
        for peer in options.peers:
            if peer != onednn.NAME:
                make: Peer = peers.PEERS[peer]
                calls |= make(op, layout, options.dtype, list(case.shape), threads)
    return calls

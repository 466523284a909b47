"""The run: each case of a suite timed beside its copies and its peers, and what comes of it."""

from __future__ import annotations

import gc
from dataclasses import asdict, dataclass
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

    Peer = Callable[[str, str, str, list[int], int], dict[str, Callable[[], object]]]

__all__ = ["BenchOptions", "run"]


@dataclass(frozen=True)
class BenchOptions:
    """What is to be timed.

    Attributes
    ----------
    suite, layouts, dtype, operations
        Which cases, and what is done with each.
    peers
        Frameworks of this environment, by their names in `peers.PEERS`.
    interpreters
        Frameworks of other environments: name -> interpreter.
    rounds
        Samples of each call.
    """

    suite: str = "resnet50"
    layouts: tuple[str, ...] = ("nchw", "nhwc")
    dtype: str = "float32"
    operations: tuple[str, ...] = ("forward", "backward")
    peers: tuple[str, ...] = ()
    interpreters: tuple[tuple[str, str], ...] = ()
    rounds: int = 7


def run(options: BenchOptions) -> Iterator[BenchRow]:
    """Time one case after another; each gives a row when it is done."""
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
    job = engine.data(case.shape, layout, options.dtype)
    threads = get_num_threads()
    if op == engine.AUTOGRAD:
        calls, beside = engine.autograd_calls(job, threads)
    else:
        calls, beside = engine.calls(op, job), {}
    ours = set(calls)
    if op in peers.OPERATIONS:
        for peer in options.peers:
            make: Peer = peers.PEERS[peer]
            beside |= make(op, layout, options.dtype, list(case.shape), threads)
    seconds = alternate(calls | beside, options.rounds)
    others = {name: value for name, value in seconds.items() if name not in ours}
    for peer, interpreter in options.interpreters:
        others |= outside(peer, interpreter, case, op, layout, options, threads)
    del job, calls, beside
    gc.collect()
    return BenchRow.of(case, op, layout, options.dtype, threads, seconds, others)

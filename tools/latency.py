"""Print what single calls of the engine take: small ones, after a rest, and beside busy programs.

    python tools/latency.py [--busy 2] [--calls 1000]

Times are microseconds. "hot" is the median in a loop; "after rest" follows 20 ms of sleep, in which
threads fall asleep. With --busy so many processes run endless loops beside, and the table has the
median and the 99th percentile of single calls, one every millisecond.
"""

from __future__ import annotations

import argparse
import contextlib
import subprocess
import sys
import time
from statistics import median, quantiles
from typing import TYPE_CHECKING, Final

import numpy as np

import backnorm as bn
from backnorm.bench.timing import after_rest, alternate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SMALL: Final = (2, 8)
SHAPE: Final = (32, 160, 7, 7)
ROUNDS: Final = 20
PAUSE: Final = 1e-3


@contextlib.contextmanager
def busy(processes: int) -> Iterator[None]:
    """Keep processors busy with endless loops."""
    others = [
        subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(processes)
    ]
    try:
        yield
    finally:
        for other in others:
            other.kill()
            other.wait()


def single(call: Callable[[], object], calls: int) -> tuple[float, float]:
    """Return the median and the 99th percentile of single calls."""
    samples = []
    for _ in range(calls):
        time.sleep(PAUSE)
        begin = time.perf_counter()
        call()
        samples.append(time.perf_counter() - begin)
    return median(samples), quantiles(samples, n=100)[98]


def row(name: str, *seconds: float) -> None:
    """Print a line of the table."""
    print(f"| {name} | {' | '.join(f'{value * 1e6:.3g}' for value in seconds)} |", flush=True)


def main() -> None:
    """Print all tables."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--busy", type=int, default=0, help="processes with endless loops")
    parser.add_argument("--calls", type=int, default=1000, help="single calls beside them")
    options = parser.parse_args()
    random = np.random.default_rng(0)
    small, x = (random.normal(size=shape).astype(np.float32) for shape in (SMALL, SHAPE))
    fwd, dy = bn.batch_norm(small), np.ones_like(small)

    def call() -> object:
        return bn.batch_norm(x)

    threads = bn.get_num_threads()
    print(f"| microseconds, {threads} threads | hot |\n|---|---|")
    calls: dict[str, Callable[[], object]] = {"forward": lambda: bn.batch_norm(small)}
    calls["backward"] = lambda: bn.batch_norm_backward(dy, fwd)
    for name, seconds in alternate(calls, ROUNDS).items():
        row(f"{name} of {'x'.join(map(str, SMALL))}", seconds)

    print(
        f"\n| forward of {'x'.join(map(str, SHAPE))} | hot | after 20 ms of rest |\n|---|---|---|"
    )
    hot = {}
    for count in (threads, 1):
        bn.set_num_threads(count)
        hot[count] = alternate({"call": call}, ROUNDS)["call"]
        row(f"{count} threads", hot[count], after_rest({"call": call}, ROUNDS)["call"])
    if options.busy:
        print(
            f"\n| beside {options.busy} busy processes | median | 99th percentile |\n|---|---|---|"
        )
        with busy(options.busy):
            for count in (threads, 1):
                bn.set_num_threads(count)
                row(f"{count} threads", *single(call, options.calls))


if __name__ == "__main__":
    main()

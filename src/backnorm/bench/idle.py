"""What a call takes after a rest, as in a service that normalizes once a request: threads sleep."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from backnorm.bench.timing import after_rest, alternate
from backnorm.kernels import native_kernel

if TYPE_CHECKING:
    from collections.abc import Callable

    TimedCalls = dict[str, Callable[[], object]]

__all__ = ["HOT", "IDLE", "ONE_THREAD", "RESTED", "latencies"]

IDLE: Final = "idle"
"""The operation: forward, after a rest."""

HOT: Final = "hot"
RESTED: Final = "after rest"
ONE_THREAD: Final = "after rest, one thread"


def latencies(
    make: Callable[[int], TimedCalls], threads: int, rounds: int
) -> dict[str, dict[str, float]]:
    """Return name of call -> HOT, RESTED and ONE_THREAD -> median seconds.

    `make` returns the calls with so many threads, those of frameworks too. Ours get as many.
    """
    times: dict[str, dict[str, float]] = {}
    try:
        for count, hot, rested in ((1, None, ONE_THREAD), (threads, HOT, RESTED)):
            native_kernel.set_thread_count(count)
            calls = make(count)
            measured = {rested: after_rest(calls, rounds)}
            if hot:
                measured[hot] = alternate(calls, rounds)
            for what, seconds in measured.items():
                for name, value in seconds.items():
                    times.setdefault(name, {})[what] = value
    finally:
        native_kernel.set_thread_count(threads)
    return times

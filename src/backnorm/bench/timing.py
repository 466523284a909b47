"""Seconds of several calls in one process, in turn, so that noise of the machine hits all alike."""

from __future__ import annotations

import time
from statistics import median, quantiles
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

__all__ = ["REST", "WARM_UP", "after_rest", "alternate", "quartiles", "sampled"]

# A shorter sample would measure the clock and the scheduler more than the call.
LEAST_SAMPLE = 300e-6
# Calls until the time is stable. Measured on arrays of 26 MB: 2.4, 2.2, 1.6, 1.3, 1.3 ms.
WARM_UP = 3
# And at least so long: threads wake up, and a caller that has waited for one works alone for 2 ms
# or more (pool.cpp).
LEAST_WARM_UP = 10e-3

# Seconds of rest before a call: threads of OpenMP spin for some milliseconds before they sleep.
REST = 0.02
# A call after a rest is one sample; their times differ more than those of repeated calls.
SAMPLES_OF_A_ROUND = 3


def alternate(calls: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Return the median seconds of each call over several rounds; a round times each call once."""
    return {name: median(values) for name, values in sampled(calls, rounds).items()}


def sampled(
    calls: dict[str, Callable[[], object]], rounds: int, apart: Collection[str] = ()
) -> dict[str, list[float]]:
    """Return the seconds of each call in each round.

    Before each round, and before each call that `apart` names, the process rests. Threads of OpenMP
    spin for up to 20 ms after their work: they would keep a core from the next call, if that has
    threads of another library.
    """
    repeats = {name: _repeats(call) for name, call in calls.items()}
    samples: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for at, (name, call) in enumerate(calls.items()):
            if apart and (at == 0 or name in apart):
                time.sleep(REST)
            samples[name].append(_sample(call, repeats[name]))
    return samples


def quartiles(values: list[float]) -> tuple[float, float]:
    """Return the seconds below which a quarter and three quarters of the samples lie."""
    if len(values) == 1:
        return values[0], values[0]
    low, _, high = quantiles(values, n=4, method="inclusive")
    return low, high


def after_rest(calls: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Return the median seconds of a single call, before which the process sleeps."""
    samples: dict[str, list[float]] = {name: [] for name in calls}
    for call in calls.values():
        call()
    for _ in range(rounds * SAMPLES_OF_A_ROUND):
        for name, call in calls.items():
            time.sleep(REST)
            begin = time.perf_counter()
            result = call()
            seconds = result if isinstance(result, float) else time.perf_counter() - begin
            samples[name].append(seconds)
    return {name: median(values) for name, values in samples.items()}


def _repeats(call: Callable[[], object]) -> int:
    """Warm up, and return how many calls make one sample."""
    call()
    call()
    return max(1, round(LEAST_SAMPLE / max(_sample(call, 1), 1e-9)))


def _sample(call: Callable[[], object], repeats: int) -> float:
    """Return the seconds of one call; a call that times itself returns a float.

    Untimed calls come first: the call timed before has filled the caches with other arrays, and
    threads may be asleep. Each result is dropped at once, so that its memory is recycled, as in a
    network that consumes it.
    """
    calls, began = 0, time.perf_counter()
    while calls < WARM_UP or time.perf_counter() - began < LEAST_WARM_UP:
        call()
        calls += 1
    begin = time.perf_counter()
    for _ in range(repeats - 1):
        call()
    result = call()
    return result if isinstance(result, float) else (time.perf_counter() - begin) / repeats

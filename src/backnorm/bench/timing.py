"""Seconds of several callables in one process, alternating, so that a noisy machine is fair."""

from __future__ import annotations

import time
from statistics import median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["WARM_UP", "alternate"]

# A sample shorter than this would measure the clock and the scheduler more than the call.
LEAST_SAMPLE = 300e-6
# Calls until times settle: measured on arrays of 26 MB, 2.4, 2.2, 1.6, 1.3, 1.3 ms.
WARM_UP = 3


def alternate(calls: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Return the median seconds of each call over several rounds, one sample of each a round."""
    repeats = {name: _repeats(call) for name, call in calls.items()}
    samples: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            samples[name].append(_sample(call, repeats[name]))
    return {name: median(values) for name, values in samples.items()}


def _repeats(call: Callable[[], object]) -> int:
    """Warm up, and find how many calls make one sample."""
    call()
    call()
    return max(1, round(LEAST_SAMPLE / max(_sample(call, 1), 1e-9)))


def _sample(call: Callable[[], object], repeats: int) -> float:
    """Return the seconds of one call; one that returns a float has timed itself.

    Untimed calls come first: whoever was timed before has left the caches full of its own arrays
    and, for some milliseconds, threads that wait actively. No result outlives its call, so that
    memory is recycled as it is where results are used up.
    """
    for _ in range(WARM_UP):
        call()
    begin = time.perf_counter()
    for _ in range(repeats - 1):
        call()
    own = call()
    return own if isinstance(own, float) else (time.perf_counter() - begin) / repeats

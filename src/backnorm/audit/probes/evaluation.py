"""Whether evaluation normalizes with what training left."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from backnorm.audit.measure.row_fit import fit_line
from backnorm.audit.probes.steps import draws_of, with_runner
from backnorm.audit.thresholds import LARGEST_EPS, STALE_LIMIT
from backnorm.host.names import state_role

if TYPE_CHECKING:
    from collections.abc import Iterator

    from backnorm._types import Float64Array
    from backnorm.audit.probes.case import Case
    from backnorm.audit.probes.trace import Trace

__all__ = ["unused_statistics"]

BATCH: Final = 16


def unused_statistics(case: Case, trace: Trace) -> list[str]:
    """Say which statistics training moves, and evaluation does not use as they are.

    Parameters
    ----------
    case
        A layer set to evaluate.
    trace
        What training calls left of it.

    Returns
    -------
    list of str
        What is wrong, each in a few words. Where it cannot be told what evaluation makes of a
        statistic, as of a sum with a divisor, there is nothing.
    """
    moving = [name for name in trace.statistics if trace.changes(name)]
    if case.record.mode == "batch":
        return [f"{name} moves, and evaluation takes the batch's" for name in moving]
    if case.record.mode != "frozen" or case.subject.kind != "batch":
        return []
    centres, variances = _used(case, trace)
    return [
        *_out_of_date(trace, [n for n in moving if _is_mean(trace, n)], centres),
        *_out_of_date(trace, [n for n in moving if _is_variance(trace, n)], variances, LARGEST_EPS),
    ]


def _is_mean(trace: Trace, name: str) -> bool:
    law = trace.laws.get(name)
    return law.statistic == "mean" if law else state_role(name) == "running_mean"


def _is_variance(trace: Trace, name: str) -> bool:
    law = trace.laws.get(name)
    return "variance" in law.statistic if law else state_role(name) == "running_var"


def _used(case: Case, trace: Trace) -> tuple[Float64Array, Float64Array]:
    """Centre and variance + eps that evaluation used before all and after each step; (K + 1, C)."""
    (one,) = draws_of(case, "evaluated", (BATCH,))
    law = case.finest.law.gamma_law
    subjects = (with_runner(case, runner) for runner in trace.runners)
    lines = [fit_line(one, one.forward(subject), law) for subject in subjects]
    centres = np.stack([line.centre[:, 0] for line in lines])
    return centres, np.stack([1 / line.slope[:, 0] ** 2 for line in lines])


def _out_of_date(
    trace: Trace, names: list[str], used: Float64Array, largest_offset: float = 0.0
) -> Iterator[str]:
    """Tell of statistics in place of which evaluation uses older values."""
    current = [n for n in names if _fits(used[-1], trace.paths[n], -1, largest_offset)]
    if current:
        return
    for name in names:
        path = trace.paths[name]
        if np.allclose(used[0], used[-1], rtol=STALE_LIMIT, atol=0):
            yield f"{name} moves, and evaluation stays what it was"
            continue
        old = [k for k in range(1, len(path)) if _fits(used[-1], path, -1 - k, largest_offset)]
        if old:
            yield f"evaluation uses {name} as it was {old[0]} call{'s' * (old[0] > 1)} ago"


def _fits(used: Float64Array, path: Float64Array, k: int, largest_offset: float) -> bool:
    """Whether these values are the statistic at step k, but for one small offset such as eps."""
    left = used - path[k]
    offset = float(np.median(left)) if largest_offset else 0.0
    step = float(np.abs(path[-1] - path[-2]).max())
    return -STALE_LIMIT <= offset <= largest_offset and bool(
        np.abs(left - offset).max() <= STALE_LIMIT * step
    )

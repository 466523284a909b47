"""Whether evaluation normalizes with the statistics that training left."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from backnorm.audit.measure.form import fit_form
from backnorm.audit.probes.steps import drawn_inputs, with_runner
from backnorm.audit.thresholds import LARGEST_EPS, STALE_LIMIT
from backnorm.host.names import state_role

if TYPE_CHECKING:
    from collections.abc import Iterator

    from backnorm._types import Float64Array
    from backnorm.audit.probes.examination import Examination
    from backnorm.audit.probes.trace import StepTrace

__all__ = ["unused_statistics"]

BATCH: Final = 16


def unused_statistics(examination: Examination, trace: StepTrace) -> list[str]:
    """Name the statistics that training changes but evaluation does not use as they are.

    Parameters
    ----------
    examination
        A layer set to evaluate.
    trace
        Its state over training steps.

    Returns
    -------
    list of str
        What is wrong, each in a few words. Empty where it cannot be told how evaluation uses a
        statistic, such as a sum with a divisor.
    """
    moving = [name for name in trace.statistics if trace.changes(name)]
    if examination.record.mode == "batch":
        return [f"training updates {name}, and evaluation uses the batch's" for name in moving]
    if examination.record.mode != "frozen" or examination.subject.kind != "batch":
        return []
    if examination.finest.forward_law.form.activation is not None:
        return []  # rows that it cuts off do not show what was used
    centres, variances = _used(examination, trace)
    return [
        *_out_of_date(trace, [n for n in moving if _is_mean(trace, n)], centres),
        *_out_of_date(trace, [n for n in moving if _is_variance(trace, n)], variances, LARGEST_EPS),
    ]


def _is_mean(trace: StepTrace, name: str) -> bool:
    law = trace.laws.get(name)
    return law.statistic == "mean" if law else state_role(name) == "running_mean"


def _is_variance(trace: StepTrace, name: str) -> bool:
    law = trace.laws.get(name)
    return "variance" in law.statistic if law else state_role(name) == "running_var"


def _used(examination: Examination, trace: StepTrace) -> tuple[Float64Array, Float64Array]:
    """Return centre and variance + eps of evaluation at each step; shapes (K + 1, C)."""
    (inputs,) = drawn_inputs(examination, "evaluated", (BATCH,))
    form = examination.finest.forward_law.form
    outputs = [inputs.forward(with_runner(examination, runner)) for runner in trace.runners]
    fits = [fit_form(inputs, y, form) for y in outputs]
    centres = np.stack([fit.centre[:, 0] for fit in fits])
    return centres, np.stack([1 / fit.slope[:, 0] ** 2 for fit in fits])


def _out_of_date(
    trace: StepTrace, names: list[str], used: Float64Array, largest_offset: float = 0.0
) -> Iterator[str]:
    """Yield the statistics in whose place evaluation uses older values."""
    current = [n for n in names if _fits(used[-1], trace.paths[n], -1, largest_offset)]
    if current:
        return
    for name in names:
        path = trace.paths[name]
        if np.allclose(used[0], used[-1], rtol=STALE_LIMIT, atol=0):
            yield f"training updates {name}, and evaluation does not change"
            continue
        old = [k for k in range(1, len(path)) if _fits(used[-1], path, -1 - k, largest_offset)]
        if old:
            yield f"evaluation uses {name} of {old[0]} call{'s' * (old[0] > 1)} ago"


def _fits(used: Float64Array, path: Float64Array, k: int, largest_offset: float) -> bool:
    """Whether these values are the statistic at step k, up to one small offset such as eps."""
    left = used - path[k]
    offset = float(np.median(left)) if largest_offset else 0.0
    step = float(np.abs(path[-1] - path[-2]).max())
    return -STALE_LIMIT <= offset <= largest_offset and bool(
        np.abs(left - offset).max() <= STALE_LIMIT * step
    )

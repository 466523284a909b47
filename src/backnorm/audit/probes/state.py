"""What a layer keeps between calls: only training changes it, once, and evaluation uses it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from backnorm.audit.findings import finding
from backnorm.audit.measure.running_law import same_weight
from backnorm.audit.probes.case import Outcome, impossible, passed
from backnorm.audit.probes.evaluation import unused_statistics
from backnorm.audit.probes.steps import (
    NOT_FOLLOWED,
    after,
    alike,
    as_step,
    draws_of,
    is_followed,
    with_runner,
)
from backnorm.audit.probes.trace import traced

if TYPE_CHECKING:
    from collections.abc import Iterator

    from backnorm.audit.probes.case import Case
    from backnorm.audit.probes.trace import Trace
    from backnorm.audit.record import Finding

__all__ = ["state_in_order"]

BATCH: Final = 5


def state_in_order(case: Case) -> Outcome:
    """Look at what training and evaluation change, and when."""
    if not is_followed(case):
        return impossible(NOT_FOLLOWED)
    trace = traced(case)
    found = [*_in_training(case, trace), *_in_evaluation(case, trace)]
    if found:
        return Outcome("fail", "; ".join(f"{f.code}: {f.got}" for f in found), tuple(found))
    if not trace.statistics:
        return passed("it keeps no running statistics, and evaluation leaves no trace")
    return passed(f"{', '.join(trace.statistics)}: in order")


def _in_training(case: Case, trace: Trace) -> Iterator[Finding]:
    """Findings of training calls; a layer set to evaluate is looked at in evaluation."""
    if case.subject.call == "eval":
        return
    held = [name for name in trace.runners[-1].attached() if name in trace.statistics]
    if held:
        yield finding("S01", ", ".join(held))
    still = [name for name in trace.statistics if not trace.changes(name)]
    if still and case.record.mode == "batch":
        yield finding("S02", f"{', '.join(still)} after {len(trace.runners) - 1} training calls")
    forward = traced(case, backward=False)
    again = [*_in_both_passes(trace, forward)] or [*_weighed_twice(trace)]
    twice = [*_counted_twice(trace), *again]
    if twice:
        yield finding("S03", "; ".join(twice))
        return
    moved = [name for name in trace.statistics if not _same_path(trace, forward, name)]
    if moved:
        yield finding("S05", ", ".join(moved))


def _counted_twice(trace: Trace) -> Iterator[str]:
    for name in trace.named("count"):
        if trace.paths[name].shape[1] == 1 and np.all(trace.increments(name) == 2):  # noqa: PLR2004
            yield f"{name} goes up by 2"


def _weighed_twice(trace: Trace) -> Iterator[str]:
    """Compare the weights with a momentum that the layer keeps, if it does."""
    kept = [trace.paths[name][0] for name in trace.named("momentum") if not trace.changes(name)]
    for momentum in (float(value[0]) for value in kept if value.size == 1 and 0 < value[0] < 1):
        once = (momentum, 1 - momentum)
        for name, law in trace.laws.items():
            if law.form == "cumulative" or any(same_weight(law.old, weight) for weight in once):
                continue
            if any(same_weight(law.old, weight**2) for weight in once):
                yield f"{name} keeps {law.old:.4g} of its value, with a momentum of {momentum:g}"


def _in_both_passes(trace: Trace, forward: Trace) -> Iterator[str]:
    """Tell what the forward pass changes, and the backward pass again in the same way."""
    for name, law in trace.laws.items():
        once = forward.laws.get(name)
        if once is None or law.form == "cumulative" or same_weight(once.old, law.old):
            continue
        if same_weight(once.old**2, law.old):
            yield f"{name} changes in the forward pass, and again in the backward pass"


def _same_path(trace: Trace, forward: Trace, name: str) -> bool:
    other = forward.paths.get(name)
    return other is not None and np.array_equal(trace.paths[name], other, equal_nan=True)


def _in_evaluation(case: Case, trace: Trace) -> Iterator[Finding]:
    """Findings of calls in evaluation, for layers that tell it from training."""
    if case.subject.call is None:
        return
    changed = list(_changed_by_evaluating(case, trace))
    if changed:
        yield finding("S04", "; ".join(changed))
    if case.subject.call == "eval":
        unused = unused_statistics(case, trace)
        if unused:
            yield finding("S06", "; ".join(unused))


def _changed_by_evaluating(case: Case, trace: Trace) -> Iterator[str]:
    """Tell what a call in evaluation changes: statistics, and what the next call gives."""
    one, other = draws_of(case, "evaluation", (BATCH, BATCH))
    trained = after(case, case.subject.runner, [as_step(one)])
    evaluated = after(case, trained, [as_step(other, train=False, backward=False)])
    before, now = trained.state(), evaluated.state()
    names = [n for n in trace.statistics if not np.array_equal(before[n], now[n])]
    if names:
        yield f"{', '.join(names)} changed"
    first, second = (one.run(with_runner(case, runner)) for runner in (trained, evaluated))
    # What does not repeat itself anyway says nothing here.
    if not alike(first, second) and alike(first, one.run(with_runner(case, trained))):
        yield f"the next call in {_mode(case)} gives another y or gradient"


def _mode(case: Case) -> str:
    return "training" if case.subject.call == "train" else "evaluation"

"""The state between calls: only training changes it, once a step, and evaluation uses it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from backnorm.audit.findings import finding
from backnorm.audit.measure.running_law import same_weight
from backnorm.audit.probes.evaluation import unused_statistics
from backnorm.audit.probes.examination import failed, impossible, passed
from backnorm.audit.probes.steps import (
    NOT_FOLLOWED,
    after,
    alike,
    as_step,
    drawn_inputs,
    is_followed,
    with_runner,
)
from backnorm.audit.probes.trace import faults_of, trace_steps

if TYPE_CHECKING:
    from collections.abc import Iterator

    from backnorm.audit.probes.examination import Examination, ProbeOutcome
    from backnorm.audit.probes.trace import StepTrace
    from backnorm.audit.record import Finding

__all__ = ["state_in_order"]

BATCH: Final = 5


def state_in_order(examination: Examination) -> ProbeOutcome:
    """Check what training and evaluation change in the layer's state, and when."""
    if not is_followed(examination):
        return impossible(NOT_FOLLOWED)
    trace = trace_steps(examination)
    findings = [
        *_in_training(examination, trace),
        *_in_evaluation(examination, trace),
        *_spoilt(examination, trace),
    ]
    if findings:
        return failed("; ".join(f"{f.code}: {f.got}" for f in findings), *findings)
    if not trace.statistics:
        return passed("it keeps no running statistics, and evaluation does not change its state")
    return passed(f"training updates, and evaluation uses, {', '.join(trace.statistics)}")


def _in_training(examination: Examination, trace: StepTrace) -> Iterator[Finding]:
    """Yield findings of training calls; a layer set to evaluate is judged in evaluation only."""
    if examination.subject.call == "eval":
        return
    held = [name for name in trace.runners[-1].attached() if name in trace.statistics]
    if held:
        yield finding("S01", ", ".join(held))
    still = [name for name in trace.statistics if not trace.changes(name)]
    if still and examination.record.mode == "batch":
        calls = len(trace.runners) - 1
        yield finding("S02", f"no change of {', '.join(still)} in {calls} training calls")
    forward = trace_steps(examination, backward=False)
    again = [*_in_both_passes(trace, forward)] or [*_weighed_twice(trace)]
    twice = [*_counted_twice(trace), *again]
    if twice:
        yield finding("S03", "; ".join(twice))
        return
    moved = [name for name in trace.statistics if not _same_path(trace, forward, name)]
    if moved:
        yield finding("S05", ", ".join(moved))


def _counted_twice(trace: StepTrace) -> Iterator[str]:
    for name in trace.named("count"):
        if trace.paths[name].shape[1] == 1 and np.all(trace.increments(name) == 2):  # noqa: PLR2004
            yield f"{name} grows by 2 in a step"


def _weighed_twice(trace: StepTrace) -> Iterator[str]:
    """Compare the weights with the layer's own momentum, if its state has one."""
    stored = [trace.paths[name][0] for name in trace.named("momentum") if not trace.changes(name)]
    for momentum in (float(value[0]) for value in stored if value.size == 1 and 0 < value[0] < 1):
        once = (momentum, 1 - momentum)
        for name, law in trace.laws.items():
            if law.form == "cumulative" or any(same_weight(law.old, weight) for weight in once):
                continue
            if any(same_weight(law.old, weight**2) for weight in once):
                yield f"{name} keeps {law.old:.4g} of its value, with a momentum of {momentum:g}"


def _in_both_passes(trace: StepTrace, forward: StepTrace) -> Iterator[str]:
    """Yield what the forward pass changes, and the backward pass changes again by the same law."""
    for name, law in trace.laws.items():
        once = forward.laws.get(name)
        if once is None or law.form == "cumulative" or same_weight(once.old, law.old):
            continue
        if same_weight(once.old**2, law.old):
            yield f"{name} changes in the forward pass, and again in the backward pass"


def _same_path(trace: StepTrace, forward: StepTrace, name: str) -> bool:
    other = forward.paths.get(name)
    return other is not None and np.array_equal(trace.paths[name], other, equal_nan=True)


def _spoilt(examination: Examination, trace: StepTrace) -> Iterator[Finding]:
    """Yield the finding of statistics that came as they may not be, or became so in training."""
    given = faults_of(examination.subject.runner.given())
    spoilt = [f"{name} is {fault} as it was given" for name, fault in given.items()]
    if examination.subject.call != "eval":
        spoilt += [words for words in trace.spoilt if words.split(" is ", 1)[0] not in given]
    if spoilt:
        yield finding("S08", "; ".join(spoilt))


def _in_evaluation(examination: Examination, trace: StepTrace) -> Iterator[Finding]:
    """Yield findings of calls in evaluation, for layers that have both modes."""
    if examination.subject.call is None:
        return
    changed = list(_changed_by_evaluating(examination, trace))
    if changed:
        yield finding("S04", "; ".join(changed))
    if examination.subject.call in ("eval", "both"):
        unused = unused_statistics(examination, trace)
        if unused:
            yield finding("S06", "; ".join(unused))


def _changed_by_evaluating(examination: Examination, trace: StepTrace) -> Iterator[str]:
    """Yield what a call in evaluation changes: statistics, and the results of the next call."""
    inputs, other = drawn_inputs(examination, "evaluation", (BATCH, BATCH))
    trained = after(examination, examination.subject.runner, [as_step(inputs)])
    step = as_step(other, train=False, backward=False)
    evaluated = after(examination, trained, [step], [as_step(inputs)])
    before, now = trained.state(), evaluated.state()
    names = [n for n in trace.statistics if not np.array_equal(before[n], now[n])]
    if names:
        yield f"{', '.join(names)} changed"
    first, second = (
        inputs.run(with_runner(examination, runner)) for runner in (trained, evaluated)
    )
    # A layer that does not repeat itself anyway cannot be judged by this.
    if not alike(first, second) and alike(first, inputs.run(with_runner(examination, trained))):
        yield f"the next call in {_mode(examination)} gives another y or gradient"


def _mode(examination: Examination) -> str:
    return "training" if examination.subject.call == "train" else "evaluation"

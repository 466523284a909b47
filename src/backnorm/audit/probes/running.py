"""The law of the running statistics in words, and the dialects that follow the same law."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from backnorm.audit.measure.running_dialects import MeasuredStorage, dialects_that_store
from backnorm.audit.measure.running_law import same_weight
from backnorm.audit.probes.examination import ProbeOutcome, impossible, passed, skipped
from backnorm.audit.probes.steps import NOT_FOLLOWED, is_followed
from backnorm.audit.probes.trace import FOLLOWED_KINDS, trace_steps

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Literal

    from backnorm.audit.measure.running_law import RunningLaw
    from backnorm.audit.probes.examination import Examination
    from backnorm.audit.probes.trace import StepTrace
    from backnorm.dialects.columns import Storage

__all__ = ["running_law"]


def running_law(examination: Examination) -> ProbeOutcome:
    """Find the law by which the running statistics follow from those of the batches."""
    if not is_followed(examination):
        return impossible(NOT_FOLLOWED)
    if examination.subject.kind not in FOLLOWED_KINDS:
        return skipped(f"layers of kind {examination.subject.kind} keep no running statistics")
    trace = trace_steps(examination)
    if not trace.statistics:
        return skipped("no running statistics were found, by name or by their law")
    sentences = "; ".join(_sentences(trace))
    if not trace.laws:
        return replace(passed(sentences), state=sentences)
    state = f"{sentences}."
    if examination.subject.kind == "batch":
        state += _dialects(examination, trace, trace_steps(examination, backward=False))
    laws = [f"{name} (error {law.residual:.0e} of a step)" for name, law in trace.laws.items()]
    return replace(passed("a law was found for " + ", ".join(laws)), state=state)


def _sentences(trace: StepTrace) -> Iterator[str]:
    for name in trace.statistics:
        if name in trace.laws:
            yield _in_words(name, trace.laws[name])
        elif trace.changes(name):
            yield f"{name} changes by an unknown law"
        else:
            yield f"{name} does not change"
    yield from (_of_number(name, trace) for name in _divisors(trace))
    yield from (f"{name} grows by {trace.increments(name)[0, 0]:g}" for name in _counters(trace))


def _in_words(name: str, law: RunningLaw) -> str:
    term = law.statistic if not law.offset else f"({law.statistic} + {law.offset:.3g})"
    if law.form == "cumulative":
        return f"{name} = the average over all batches of the {term}"
    old = "" if same_weight(law.old, 0.0) else f"{law.old:.5g}*{name} + "
    new = "" if same_weight(law.new, 1.0) else f"{law.new:.5g}*"
    words = f"{name} = {old}{new}{term}"
    if law.form == "copied":
        first = "batch is" if law.copied == 1 else f"{law.copied} batches are"
        return f"{words}; the first {first} copied"
    return f"{words}, divided by 1 - {law.old:.5g}^k" if law.form == "debiased" else words


def _counters(trace: StepTrace) -> list[str]:
    """Return the names of numbers that go up by the same amount in each step."""
    return [
        name
        for name, path in trace.paths.items()
        if path.shape[1] == 1
        and name not in trace.laws
        and (steps := trace.increments(name))[0, 0] > 0
        and np.ptp(steps) == 0
    ]


def _divisors(trace: StepTrace) -> list[str]:
    """Return the names of numbers that follow d = weight*d + 1, with the weight of the sums."""
    weights = [law.old for law in trace.laws.values() if not law.averages]
    return [
        name
        for name, path in trace.paths.items()
        if path.shape[1] == 1
        and any(np.allclose(path[1:], w * path[:-1] + 1, rtol=1e-6, atol=0) for w in weights)
    ]


def _of_number(name: str, trace: StepTrace) -> str:
    path = trace.paths[name][:, 0]
    weight = (path[2] - 1) / path[1]
    return f"{name} = {weight:.5g}*{name} + 1"


def _dialects(examination: Examination, trace: StepTrace, forward_only: StepTrace) -> str:
    storage = _measured_storage(examination, trace, forward_only)
    names = () if storage is None else dialects_that_store(storage)
    if not names:
        return " No known dialect has this law."
    return f" Dialects with this law: {', '.join(names)}."


def _measured_storage(
    examination: Examination, trace: StepTrace, forward_only: StepTrace
) -> MeasuredStorage | None:
    """Return the storage in the words of the dialect table; None where the table has no words."""
    laws = list(trace.laws.items())
    means = [(name, law) for name, law in laws if law.statistic == "mean"]
    variances = [(name, law) for name, law in laws if "variance" in law.statistic]
    when = _updates_in(trace, forward_only)
    if not means or not variances or when is None:
        return None
    # Where a hidden average is stored beside the average that is read, the latter tells more.
    (name, mean), (_, var) = (
        next((pair for pair in pairs if pair[1].form == "debiased"), pairs[0])
        for pairs in (means, variances)
    )
    storage = _storage(trace, name, mean, var)
    if storage is None or (mean.form, mean.copied) != (var.form, var.copied):
        return None
    return MeasuredStorage(
        storage=storage,
        running_var="unbiased" if var.statistic.startswith("unbiased") else "biased",
        copied_updates=var.copied,
        updates_in=when,
        cumulative=var.form == "cumulative",
        normalizes_with=_normalizes_with(examination),
    )


def _normalizes_with(examination: Examination) -> Literal["batch", "blend"] | None:
    """Return what training normalizes with; None where y does not show it, as behind a relu."""
    modes: dict[str, Literal["batch", "blend"]] = {"batch": "batch", "other": "blend"}
    shown = examination.subject.call in ("train", "both") and examination.laws[-1].straight
    return modes.get(examination.record.mode) if shown else None


def _storage(trace: StepTrace, name: str, mean: RunningLaw, var: RunningLaw) -> Storage | None:
    if not same_weight(mean.old, var.old) or not same_weight(mean.new, var.new):
        return None
    # Equinox stores averages that it calls hidden, and divides them when it reads them.
    if mean.form == "debiased" or (mean.averages and "hidden" in name and _counters(trace)):
        return "hidden averages and their count"
    if mean.averages:
        return "averages, eps in the variance" if var.offset else "averages"
    return "sums and their divisor" if same_weight(mean.new, 1.0) and _divisors(trace) else None


def _updates_in(trace: StepTrace, forward_only: StepTrace) -> Literal["forward", "backward"] | None:
    """Return the pass in which the statistics change; None where both passes change them."""
    pairs = [(trace.paths[name], forward_only.paths.get(name)) for name in trace.laws]
    if all(b is not None and np.array_equal(a, b) for a, b in pairs):
        return "forward"
    still = not any(forward_only.changes(name) for name in trace.laws if name in forward_only.paths)
    return "backward" if still else None

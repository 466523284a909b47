"""How the running statistics are updated, in words, and which dialects do the same."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from backnorm.audit.measure.running_dialects import Kept, dialects_that_keep
from backnorm.audit.measure.running_law import same_weight
from backnorm.audit.probes.case import Outcome, impossible, passed, skipped
from backnorm.audit.probes.steps import NOT_FOLLOWED, is_followed
from backnorm.audit.probes.trace import FOLLOWED_KINDS, traced

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Literal

    from backnorm.audit.measure.running_dialects import Storage
    from backnorm.audit.measure.running_law import Weighing
    from backnorm.audit.probes.case import Case
    from backnorm.audit.probes.trace import Trace

__all__ = ["running_law"]


def running_law(case: Case) -> Outcome:
    """Infer from a few steps how running statistics follow from those of the batches."""
    if not is_followed(case):
        return impossible(NOT_FOLLOWED)
    if case.subject.kind not in FOLLOWED_KINDS:
        return skipped(f"layers of kind {case.subject.kind} keep no running statistics")
    trace = traced(case)
    if not trace.statistics:
        return skipped("it keeps no running statistics that could be told by name or by law")
    said = "; ".join(_sentences(trace))
    if not trace.laws:
        return replace(passed(said), state=said)
    state = f"{said}."
    if case.subject.kind == "batch":
        state += _dialects(case, trace, traced(case, backward=False))
    laws = [f"{name} to {law.misfit:.0e} of its steps" for name, law in trace.laws.items()]
    return replace(passed("a law explains " + ", ".join(laws)), state=state)


def _sentences(trace: Trace) -> Iterator[str]:
    for name in trace.statistics:
        if name in trace.laws:
            yield _in_words(name, trace.laws[name])
        elif trace.changes(name):
            yield f"{name} changes by no law that is known here"
        else:
            yield f"{name} does not change"
    yield from (_of_number(name, trace) for name in _divisors(trace))
    yield from (f"{name} goes up by {trace.increments(name)[0, 0]:g}" for name in _counters(trace))


def _in_words(name: str, law: Weighing) -> str:
    term = law.statistic if not law.offset else f"({law.statistic} + {law.offset:.3g})"
    if law.form == "cumulative":
        return f"{name} = the plain average of each batch's {term}"
    old = "" if same_weight(law.old, 0.0) else f"{law.old:.5g}*{name} + "
    new = "" if same_weight(law.new, 1.0) else f"{law.new:.5g}*"
    words = f"{name} = {old}{new}{term}"
    if law.form == "copied":
        first = "the first batch's" if law.copied == 1 else f"those of the first {law.copied}"
        return f"{words}, at first {first}"
    return f"{words}, divided by 1 - {law.old:.5g}^k" if law.form == "debiased" else words


def _counters(trace: Trace) -> list[str]:
    """Names of numbers that go up by the same in each step."""
    return [
        name
        for name, path in trace.paths.items()
        if path.shape[1] == 1
        and name not in trace.laws
        and (steps := trace.increments(name))[0, 0] > 0
        and np.ptp(steps) == 0
    ]


def _divisors(trace: Trace) -> list[str]:
    """Names of numbers that follow d = weight*d + 1, by the weight of the sums."""
    weights = [law.old for law in trace.laws.values() if not law.averages]
    return [
        name
        for name, path in trace.paths.items()
        if path.shape[1] == 1
        and any(np.allclose(path[1:], w * path[:-1] + 1, rtol=1e-6, atol=0) for w in weights)
    ]


def _of_number(name: str, trace: Trace) -> str:
    path = trace.paths[name][:, 0]
    weight = (path[2] - 1) / path[1]
    return f"{name} = {weight:.5g}*{name} + 1"


def _dialects(case: Case, trace: Trace, forward_only: Trace) -> str:
    kept = _kept(case, trace, forward_only)
    names = () if kept is None else dialects_that_keep(kept)
    if not names:
        return " No dialect of the table does the same."
    return f" The same as in: {', '.join(names)}."


def _kept(case: Case, trace: Trace, forward_only: Trace) -> Kept | None:
    """Say in the words of the table what was seen; None where it has no words for that."""
    laws = list(trace.laws.items())
    means = [(name, law) for name, law in laws if law.statistic == "mean"]
    variances = [(name, law) for name, law in laws if "variance" in law.statistic]
    when = _updates_in(trace, forward_only)
    if not means or not variances or when is None:
        return None
    # Where a hidden average stands beside the one that is read, the latter tells more.
    (name, mean), (_, var) = (
        next((pair for pair in pairs if pair[1].form == "debiased"), pairs[0])
        for pairs in (means, variances)
    )
    storage = _storage(trace, name, mean, var)
    if storage is None or (mean.form, mean.copied) != (var.form, var.copied):
        return None
    return Kept(
        storage=storage,
        running_var="unbiased" if var.statistic.startswith("unbiased") else "biased",
        copied_updates=var.copied,
        updates_in=when,
        cumulative=var.form == "cumulative",
        normalizes_with=_normalizes_with(case),
    )


def _normalizes_with(case: Case) -> Literal["batch", "blend"] | None:
    """Return what training normalizes with; None where y does not show it, as behind a relu."""
    modes: dict[str, Literal["batch", "blend"]] = {"batch": "batch", "other": "blend"}
    seen = case.subject.call == "train" and case.finest.law.straight
    return modes.get(case.record.mode) if seen else None


def _storage(trace: Trace, name: str, mean: Weighing, var: Weighing) -> Storage | None:
    if not same_weight(mean.old, var.old) or not same_weight(mean.new, var.new):
        return None
    # Equinox divides what it calls hidden when it reads it.
    if mean.form == "debiased" or (mean.averages and "hidden" in name and _counters(trace)):
        return "hidden averages and their count"
    if mean.averages:
        return "averages, eps in the variance" if var.offset else "averages"
    return "sums and their divisor" if same_weight(mean.new, 1.0) and _divisors(trace) else None


def _updates_in(trace: Trace, forward_only: Trace) -> Literal["forward", "backward"] | None:
    """When the statistics change; None where both passes change them."""
    pairs = [(trace.paths[name], forward_only.paths.get(name)) for name in trace.laws]
    if all(b is not None and np.array_equal(a, b) for a, b in pairs):
        return "forward"
    still = not any(forward_only.changes(name) for name in trace.laws if name in forward_only.paths)
    return "backward" if still else None

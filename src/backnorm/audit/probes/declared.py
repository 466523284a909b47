"""Whether running statistics move by the momentum that a model file says."""

from __future__ import annotations

from typing import TYPE_CHECKING

from backnorm.audit.findings import finding
from backnorm.audit.measure.running_law import same_weight
from backnorm.audit.probes.examination import failed, impossible, passed, skipped
from backnorm.audit.probes.steps import NOT_FOLLOWED, is_followed
from backnorm.audit.probes.trace import trace_steps

if TYPE_CHECKING:
    from backnorm.audit.probes.examination import Examination, ProbeOutcome

__all__ = ["declared_momentum"]


def declared_momentum(examination: Examination) -> ProbeOutcome:
    """Compare the weight of the old value in the running law with the node's momentum."""
    momentum = examination.subject.declared.get("momentum")
    if momentum is None:
        return impossible("the file says no momentum")
    if not is_followed(examination):
        return impossible(NOT_FOLLOWED)
    trace = trace_steps(examination)
    still = [name for name in trace.statistics if not trace.changes(name)]
    if still:
        listed = ", ".join(still)
        return failed(f"{listed} does not change", finding("S02", f"no change of {listed}"))
    if not trace.laws:
        return skipped("the running statistics follow no known law")
    weights = {name: law.old for name, law in trace.laws.items()}
    listed = ", ".join(f"{name} {weight:.5g}" for name, weight in weights.items())
    words = f"weights of the old values: {listed}; momentum {momentum:.5g}"
    if all(same_weight(weight, momentum) for weight in weights.values()):
        return passed(words)
    return failed(words, finding("L06", words))

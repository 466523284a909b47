"""What a call leaves behind, and what another forward pass does to a gradient that is still due."""

from __future__ import annotations

from typing import TYPE_CHECKING

from backnorm.audit.findings import finding
from backnorm.audit.measure.inputs import draw_inputs
from backnorm.audit.probes.examination import failed, impossible, passed, skipped
from backnorm.audit.probes.layouts import differences
from backnorm.audit.probes.trials import quoted
from backnorm.audit.subject import told
from backnorm.audit.thresholds import LAYOUT_LIMIT
from backnorm.errors import SubjectError

if TYPE_CHECKING:
    from backnorm.audit.probes.examination import Examination, ProbeOutcome

__all__ = ["leaves_nothing_behind", "two_forward_passes"]

BATCH = 4


def leaves_nothing_behind(examination: Examination) -> ProbeOutcome:
    """Look at the arrays that a call was given, and at global state, after the call."""
    subject = examination.subject
    if "traces" not in subject.runner.can:
        return impossible("the audit cannot see what a call of it leaves behind")
    rng, dtype = examination.rng("left behind"), examination.finest.dtype
    inputs = draw_inputs(subject, rng, dtype, batch=BATCH)
    with told(subject.name):
        traces = subject.runner.traces(inputs.x, inputs.gamma, inputs.beta, inputs.dy)
    findings = []
    if traces.overwritten:
        findings.append(finding("S09", f"other values in {', '.join(traces.overwritten)}"))
    if traces.changed:
        findings.append(finding("S10", f"a change of {', '.join(traces.changed)}"))
    if findings:
        return failed("; ".join(f.got for f in findings), *findings)
    return passed("a call changes neither what it was given nor global state")


def two_forward_passes(examination: Examination) -> ProbeOutcome:
    """Compare the gradient with that where another forward pass precedes the backward pass."""
    subject = examination.subject
    if "overlapped" not in subject.runner.can:
        return impossible("the audit cannot run it forward twice before the backward pass")
    if any(f.code == "G16" for f in examination.record.findings):
        return skipped("two calls give different y (G16)")
    rng, dtype = examination.rng("two passes"), examination.finest.dtype
    inputs, later = (draw_inputs(subject, rng, dtype, batch=BATCH) for _ in range(2))
    usual, given = inputs.run(subject), (inputs.x, inputs.gamma, inputs.beta, inputs.dy)
    try:
        with told(subject.name):
            overlapped = subject.runner.overlapped(*given, later.x)
    except SubjectError as error:
        return skipped(f"it refuses a backward pass after two forward passes: {quoted(error)}")
    errors = differences(overlapped, usual, ("dx", "dgamma", "dbeta"))
    limit = LAYOUT_LIMIT[examination.finest.comparison.resolution]
    wrong = {name: error for name, error in errors.items() if error > limit}
    if wrong:
        what = ", ".join(f"{name} differs by {error:.0e}" for name, error in wrong.items())
        return failed(what, finding("S11", what))
    return passed("the gradient is the same where another forward pass comes between")

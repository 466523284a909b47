"""What is tried beyond the gradient of a first call; each probe has its file.

A probe tests one thing, says what it measured, and returns findings where something is wrong. It
does not change the verdict on the gradient, unless it reaches a worse one.
"""

from __future__ import annotations

from dataclasses import replace
from time import perf_counter
from typing import TYPE_CHECKING, Final

from backnorm.audit.probes.axes import empty_batch, other_axes
from backnorm.audit.probes.blind_spots import blind_spots
from backnorm.audit.probes.examination import Examination, Probe, ProbeOutcome, skipped
from backnorm.audit.probes.half_precision import half_precision
from backnorm.audit.probes.later_calls import later_calls
from backnorm.audit.probes.layouts import input_without_gradient, memory_layouts
from backnorm.audit.probes.left_behind import leaves_nothing_behind, two_forward_passes
from backnorm.audit.probes.orders import second_order, third_order
from backnorm.audit.probes.precision import over_means, over_scales
from backnorm.audit.probes.repeated import calls_repeat, threads_repeat
from backnorm.audit.probes.running import running_law
from backnorm.audit.probes.samples import evaluates_each_sample
from backnorm.audit.probes.special_values import few_values, gamma_zero, large_values
from backnorm.audit.probes.state import state_in_order
from backnorm.audit.record import ProbeResult, Record
from backnorm.errors import SubjectError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["PROBES", "run_probes"]

PROBES: Final = (
    Probe("P10", "later calls", later_calls),
    Probe("P11", "running law", running_law),
    Probe("P12", "state", state_in_order),
    Probe("P13", "evaluation of each sample", evaluates_each_sample),
    Probe("P14", "what a call leaves behind", leaves_nothing_behind),
    Probe("P15", "two forward passes", two_forward_passes),
    Probe("P30", "second derivative", second_order),
    Probe("P31", "third derivative", third_order),
    Probe("P40", "memory order", memory_layouts),
    Probe("P41", "few values", few_values),
    Probe("P42", "gamma = 0", gamma_zero),
    Probe("P43", "other axes", other_axes),
    Probe("P44", "large values", large_values),
    Probe("P45", "x without a gradient", input_without_gradient),
    Probe("P46", "empty batch", empty_batch),
    Probe("P47", "blind spots of tests", blind_spots),
    Probe("P60", "precision, large means", over_means),
    Probe("P61", "precision, scales", over_scales),
    Probe("P62", "half precision", half_precision),
    Probe("P90", "repeated calls", calls_repeat),
    Probe("P91", "number of threads", threads_repeat),
)
"""All probes, in the order in which they run."""


def run_probes(examination: Examination, at_work: Callable[[str], object]) -> Record:
    """Run all probes on a subject.

    Parameters
    ----------
    examination
        The subject and the verdict on its gradient.
    at_work
        Called with the name of each probe when it begins.

    Returns
    -------
    Record
        The record of the examination, with what the probes found.
    """
    record = examination.record
    for probe in PROBES:
        at_work(probe.name)
        begin = perf_counter()
        outcome = _run(probe, replace(examination, record=record))
        record = _with(record, probe, outcome, perf_counter() - begin)
    return record


def _run(probe: Probe, examination: Examination) -> ProbeOutcome:
    try:
        return probe.examine(examination)
    except SubjectError as error:
        return skipped(error.problem.rstrip("."))


def _with(record: Record, probe: Probe, outcome: ProbeOutcome, seconds: float) -> Record:
    """Add the outcome of a probe to the record."""
    base = outcome.verdict or record
    result = ProbeResult(probe.code, probe.name, outcome.result, outcome.what, round(seconds, 4))
    return replace(
        base,
        findings=(*base.findings, *outcome.findings),
        notes=(*base.notes, *outcome.notes),
        state=outcome.state or record.state,
        probes=(*record.probes, result),
        precision=(*record.precision, *outcome.precision),
    )

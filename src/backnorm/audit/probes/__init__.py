"""What is tried beyond the gradient of a first call; each probe has its file.

A probe tests one thing, says what it measured, and returns findings where something is wrong. It
does not change the verdict on the gradient, unless it reaches a worse one.
"""

from __future__ import annotations

from dataclasses import replace
from time import perf_counter
from typing import TYPE_CHECKING, Final

from backnorm.audit.findings import finding
from backnorm.audit.probes.axes import empty_batch, other_axes
from backnorm.audit.probes.blind_spots import blind_spots
from backnorm.audit.probes.declared import declared_momentum
from backnorm.audit.probes.examination import (
    Examination,
    Probe,
    ProbeOutcome,
    failed,
    skipped,
)
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
from backnorm.audit.record import AUDIT_ERROR, ProbeResult, Record
from backnorm.audit.subjects.blame import blamed
from backnorm.audit.thresholds import HUNG_PROBES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from backnorm.audit.subject import Subject
    from backnorm.errors import SubjectError

__all__ = ["FILE_PROBE", "PROBES", "run_probes", "with_lost", "with_outcome", "without_the_others"]

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

FILE_PROBE: Final = Probe("P20", "momentum of the file", declared_momentum)
"""The probe of what a model file says."""

FORWARD: Final[Mapping[str, set[str]]] = {
    "P11": {"state"},
    "P60": set(),
    "P61": set(),
    "P62": {"float16", "bfloat16"},
}
"""Codes of the probes that need no gradient, and of what the subject must offer one thing."""


FAILS_LATER: Final = "S12"
"""The finding of a call that fails after others, which each probe of later calls may make."""

LOST: Final = {"G25": "C01", "G21": "C02"}
"""Finding of a probe that lost the process, by the error that says how it was lost."""


def run_probes(examination: Examination, at_work: Callable[[str], object]) -> Iterator[Record]:
    """Run all probes on a subject, except those that its record already has.

    Parameters
    ----------
    examination
        The subject and the verdict on its gradient.
    at_work
        Called with the name of each probe when it begins.

    Yields
    ------
    Record
        After each probe the record so far.
    """
    record = examination.record
    done = {result.code for result in record.probes}
    for probe in _probes_of(examination.subject):
        if probe.code in done:
            continue
        begin = perf_counter()
        if sum(found.code == LOST["G21"] for found in record.findings) >= HUNG_PROBES:
            outcome = skipped(f"{HUNG_PROBES:g} earlier probes did not finish in time")
        else:
            at_work(probe.name)
            examination.subject.runner.restart()
            outcome = _run(probe, replace(examination, record=record))
        record = _with(record, probe, outcome, perf_counter() - begin)
        yield record


def with_lost(record: Record, name: str, error: SubjectError, seconds: float) -> Record:
    """Add to a record the probe that lost the process of its subject.

    Parameters
    ----------
    record
        The record so far.
    name
        The name of the probe.
    error
        How the process was lost.
    seconds
        How long the probe took.
    """
    probe = next(one for one in (*PROBES, FILE_PROBE) if one.name == name)
    return _with(record, probe, _lost(probe, error), seconds)


def without_the_others(record: Record, why: str) -> Record:
    """Add to a record the probes that it lacks as skipped, with the reason."""
    done = {result.code for result in record.probes}
    for probe in PROBES:
        if probe.code not in done:
            record = _with(record, probe, skipped(why.rstrip(".")), 0.0)
    return record


def _probes_of(subject: Subject) -> list[Probe]:
    """Return the probes of a subject: few without a gradient, one more for one in a file."""
    can = subject.runner.can
    possible = {code for code, needs in FORWARD.items() if not needs or needs & can}
    usual = [p for p in PROBES if not subject.forward_only or p.code in possible]
    return [*usual, FILE_PROBE] if subject.declared and "state" in can else usual


def _run(probe: Probe, examination: Examination) -> ProbeOutcome:
    subject = examination.subject
    try:
        outcome = probe.examine(examination)
    except Exception as error:  # noqa: BLE001 - one probe must not cost the others
        blame = blamed(subject.name, error)
        outcome = skipped(blame.problem.rstrip("."))
        if blame.code == FAILS_LATER:
            outcome = _fails_later(examination, blame)
        if blame.code in LOST:
            outcome = _lost(probe, blame)
        if blame.code == AUDIT_ERROR:
            what = f"audit error: {blame.got}"
            outcome = replace(
                skipped(what), findings=(finding(AUDIT_ERROR, f"{probe.name}: {blame.got}"),)
            )
    # A probe may take an error for a refusal: whether the process is gone, its runner knows.
    lost = subject.runner.lost
    return outcome if lost is None else _lost(probe, lost)


def _fails_later(examination: Examination, error: SubjectError) -> ProbeOutcome:
    """Return the outcome of a probe in which a later call failed; the first has the finding."""
    known = any(found.code == FAILS_LATER for found in examination.record.findings)
    named = () if known else (finding(FAILS_LATER, error.got),)
    return failed(error.problem.rstrip("."), *named)


def _lost(probe: Probe, error: SubjectError) -> ProbeOutcome:
    """Return the outcome of a probe that lost the process."""
    what = f"{error.problem.rstrip('.')}; a new process was started for the next probe"
    return failed(what, finding(LOST.get(error.code, "C01"), f"{probe.name}: {error.got}"))


def _with(record: Record, probe: Probe, outcome: ProbeOutcome, seconds: float) -> Record:
    return with_outcome(record, probe.code, probe.name, outcome, seconds)


def with_outcome(
    record: Record, code: str, name: str, outcome: ProbeOutcome, seconds: float
) -> Record:
    """Add the outcome of the probe of a code and a name to a record."""
    base = outcome.verdict or record
    result = ProbeResult(code, name, outcome.result, outcome.what, round(seconds, 4))
    return replace(
        base,
        findings=(*base.findings, *outcome.findings),
        notes=(*base.notes, *outcome.notes),
        state=outcome.state or record.state,
        probes=(*record.probes, result),
        precision=(*record.precision, *outcome.precision),
    )

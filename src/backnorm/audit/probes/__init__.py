"""What is tried beyond the gradient of a first call: each check has its file.

A check looks at one thing, says what it saw, and gives findings where something is wrong. It leaves
the verdict on the gradient alone, unless it sees a worse one.
"""

from __future__ import annotations

from dataclasses import replace
from time import perf_counter
from typing import TYPE_CHECKING, Final

from backnorm.audit.probes.axes import empty_batch, other_axes
from backnorm.audit.probes.blind_spots import what_hides_it
from backnorm.audit.probes.case import Case, Check, Outcome, skipped
from backnorm.audit.probes.half_precision import in_half_formats
from backnorm.audit.probes.later_calls import later_calls
from backnorm.audit.probes.layouts import input_without_gradient, memory_layouts
from backnorm.audit.probes.orders import second_order, third_order
from backnorm.audit.probes.precision import over_means, over_scales
from backnorm.audit.probes.repeated import calls_repeat, threads_repeat
from backnorm.audit.probes.running import running_law
from backnorm.audit.probes.special_values import few_values, gamma_zero, large_values
from backnorm.audit.probes.state import state_in_order
from backnorm.audit.record import Probe, Record
from backnorm.errors import SubjectError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["CHECKS", "examined"]

CHECKS: Final = (
    Check("P10", "later calls", later_calls),
    Check("P11", "running law", running_law),
    Check("P12", "state", state_in_order),
    Check("P30", "second derivative", second_order),
    Check("P31", "third derivative", third_order),
    Check("P40", "memory order", memory_layouts),
    Check("P41", "few values", few_values),
    Check("P42", "gamma = 0", gamma_zero),
    Check("P43", "other axes", other_axes),
    Check("P44", "large values", large_values),
    Check("P45", "x without a gradient", input_without_gradient),
    Check("P46", "empty batch", empty_batch),
    Check("P47", "blind spots of tests", what_hides_it),
    Check("P60", "precision, large means", over_means),
    Check("P61", "precision, scales", over_scales),
    Check("P62", "half precision", in_half_formats),
    Check("P90", "repeated calls", calls_repeat),
    Check("P91", "number of threads", threads_repeat),
)
"""All checks, in the order in which they are tried."""


def examined(case: Case, at_work: Callable[[str], object]) -> Record:
    """Try all checks on a subject.

    Parameters
    ----------
    case
        The subject and the verdict on its gradient.
    at_work
        Called with the name of what is begun.

    Returns
    -------
    Record
        The record of the case with what was found.
    """
    record = case.record
    for check in CHECKS:
        at_work(check.name)
        begin = perf_counter()
        outcome = _tried(check, replace(case, record=record))
        record = _with(record, check, outcome, perf_counter() - begin)
    return record


def _tried(check: Check, case: Case) -> Outcome:
    try:
        return check.examine(case)
    except SubjectError as error:
        return skipped(error.problem.rstrip("."))


def _with(record: Record, check: Check, outcome: Outcome, seconds: float) -> Record:
    """Add what a check came to."""
    base = outcome.verdict or record
    probe = Probe(check.code, check.name, outcome.result, outcome.what, round(seconds, 4))
    return replace(
        base,
        findings=(*base.findings, *outcome.findings),
        notes=(*base.notes, *outcome.notes),
        state=outcome.state or record.state,
        probes=(*record.probes, probe),
        precision=(*record.precision, *outcome.precision),
    )

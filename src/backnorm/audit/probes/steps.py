"""Steps: calls of a layer one after another, and its state after each."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final, TypeVar

import numpy as np

from backnorm.audit.measure.inputs import draw_inputs
from backnorm.audit.subject import told
from backnorm.audit.subjects.runner import Run, Step
from backnorm.errors import SubjectError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from backnorm._types import AnyArray
    from backnorm.audit.measure.inputs import Inputs
    from backnorm.audit.probes.examination import Examination
    from backnorm.audit.subject import Subject
    from backnorm.audit.subjects.runner import Runner

__all__ = [
    "NOT_FOLLOWED",
    "after",
    "alike",
    "as_step",
    "compared",
    "drawn_inputs",
    "is_followed",
    "states",
    "with_runner",
]

Answer = TypeVar("Answer")

NOT_FOLLOWED: Final = "the audit cannot read its state between calls"

IN_A_CALL: Final = ("G20", "G22", "G23", "G24")
"""Codes of what the subject does wrong in a call; other errors are about its process."""


def is_followed(examination: Examination) -> bool:
    """Whether the state of the subject can be followed over calls."""
    return "state" in examination.subject.runner.can


def drawn_inputs(examination: Examination, name: str, batches: Sequence[int]) -> list[Inputs]:
    """Draw inputs for each batch size, in the finest dtype; each has different statistics."""
    rng, dtype = examination.rng(name), examination.subject.dtypes[-1]
    return [draw_inputs(examination.subject, rng, dtype, batch=batch) for batch in batches]


def as_step(inputs: Inputs, *, train: bool = True, backward: bool = True) -> Step:
    """Return the step that calls a layer with these inputs."""
    return Step(inputs.x, inputs.gamma, inputs.beta, inputs.dy if backward else None, train)


def after(
    examination: Examination, runner: Runner, steps: Sequence[Step], before: Sequence[Step] = ()
) -> Runner:
    """Return the runner after some steps; the runner that is given has those `before` behind it.

    Raises
    ------
    SubjectError
        If a step raises; of code S12 where the same step as a first call does not.
    """
    try:
        return _after(examination, runner, steps)
    except SubjectError as error:
        count = _first_failing(examination, runner, steps)
        calls = [*before, *steps[:count]]
        if error.code in IN_A_CALL and count and len(calls) > 1:
            _after(examination, examination.subject.runner, calls[-1:])
            samples = [len(step.x) for step in calls]
            raise SubjectError.failed_later(error, samples) from error
        raise


def _after(examination: Examination, runner: Runner, steps: Sequence[Step]) -> Runner:
    with told(examination.subject.name):
        return runner.after(steps)


def _first_failing(examination: Examination, runner: Runner, steps: Sequence[Step]) -> int:
    """Return how many steps it takes until one raises; 0 if it does not raise again."""
    for count in range(1, len(steps) + 1):
        try:
            _after(examination, runner, steps[:count])
        except SubjectError:
            return count
    return 0


def compared(
    examination: Examination,
    call: Callable[[Subject], Answer],
    later: Subject,
    samples: Sequence[int],
) -> tuple[Answer, Answer]:
    """Return the results of a call of the subject, and of the same call of it in a later state.

    Parameters
    ----------
    examination
        What is audited.
    call
        What calls a subject.
    later
        The subject after some calls.
    samples
        The batch sizes of those calls, and of the call.

    Raises
    ------
    SubjectError
        If the call raises; of code S12 where it does so in the later state only.
    """
    first = call(examination.subject)
    try:
        return first, call(later)
    except SubjectError as error:
        if error.code not in IN_A_CALL:
            raise
        raise SubjectError.failed_later(error, samples) from error


def states(
    examination: Examination, steps: Sequence[Step]
) -> tuple[list[Runner], list[Mapping[str, AnyArray]]]:
    """Return the runner before the first step and after each, and the state of each."""
    runners = [examination.subject.runner]
    for count, step in enumerate(steps):
        runners.append(after(examination, runners[-1], [step], steps[:count]))
    return runners, [runner.state() for runner in runners]


def with_runner(examination: Examination, runner: Runner) -> Subject:
    """Return the subject with another state."""
    return replace(examination.subject, runner=runner)


def alike(first: Run, second: Run) -> bool:
    """Whether two calls are bitwise identical."""
    pairs = ((getattr(first, name), getattr(second, name)) for name in Run.__slots__)
    return all((a is None and b is None) or np.array_equal(a, b) for a, b in pairs)

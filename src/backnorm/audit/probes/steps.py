"""Calls that a layer is led through, and what its state was after each."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from backnorm.audit.measure.inputs import draw
from backnorm.audit.subject import told
from backnorm.audit.subjects.runner import Run, Step

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from backnorm._types import AnyArray
    from backnorm.audit.measure.inputs import Draw
    from backnorm.audit.probes.case import Case
    from backnorm.audit.subject import Subject
    from backnorm.audit.subjects.runner import Runner

__all__ = [
    "NOT_FOLLOWED",
    "after",
    "alike",
    "as_step",
    "draws_of",
    "is_followed",
    "states",
    "with_runner",
]

NOT_FOLLOWED = "its state cannot be followed over calls"


def is_followed(case: Case) -> bool:
    """Whether the subject can be followed over calls."""
    return "state" in case.subject.runner.can


def draws_of(case: Case, name: str, batches: Sequence[int]) -> list[Draw]:
    """Draw an input for each batch size, in the finest format, each with statistics of its own."""
    rng, dtype = case.rng(name), case.subject.dtypes[-1]
    return [draw(case.subject, rng, dtype, batch=batch) for batch in batches]


def as_step(one: Draw, *, train: bool = True, backward: bool = True) -> Step:
    """Make a step of a draw."""
    return Step(one.x, one.gamma, one.beta, one.dy if backward else None, train)


def after(case: Case, runner: Runner, steps: Sequence[Step]) -> Runner:
    """Return the runner after some steps, or raise SubjectError if one raises."""
    with told(case.subject.name):
        return runner.after(steps)


def states(case: Case, steps: Sequence[Step]) -> tuple[list[Runner], list[Mapping[str, AnyArray]]]:
    """Return the runner before all and after each step, and the state that each has."""
    runners = [case.subject.runner]
    for step in steps:
        runners.append(after(case, runners[-1], [step]))
    return runners, [one.state() for one in runners]


def with_runner(case: Case, runner: Runner) -> Subject:
    """Return the subject with another state."""
    return replace(case.subject, runner=runner)


def alike(first: Run, second: Run) -> bool:
    """Whether two calls gave the same bits."""
    pairs = ((getattr(first, name), getattr(second, name)) for name in Run.__slots__)
    return all((a is None and b is None) or np.array_equal(a, b) for a, b in pairs)

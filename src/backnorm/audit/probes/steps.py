"""Steps: calls of a layer one after another, and its state after each."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from backnorm.audit.measure.inputs import draw_inputs
from backnorm.audit.subject import told
from backnorm.audit.subjects.runner import Run, Step

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

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
    "drawn_inputs",
    "is_followed",
    "states",
    "with_runner",
]

NOT_FOLLOWED = "its adapter cannot read its state between calls"


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


def after(examination: Examination, runner: Runner, steps: Sequence[Step]) -> Runner:
    """Return the runner after some steps, or raise SubjectError if one raises."""
    with told(examination.subject.name):
        return runner.after(steps)


def states(
    examination: Examination, steps: Sequence[Step]
) -> tuple[list[Runner], list[Mapping[str, AnyArray]]]:
    """Return the runner before the first step and after each, and the state of each."""
    runners = [examination.subject.runner]
    for step in steps:
        runners.append(after(examination, runners[-1], [step]))
    return runners, [runner.state() for runner in runners]


def with_runner(examination: Examination, runner: Runner) -> Subject:
    """Return the subject with another state."""
    return replace(examination.subject, runner=runner)


def alike(first: Run, second: Run) -> bool:
    """Whether two calls are bitwise identical."""
    pairs = ((getattr(first, name), getattr(second, name)) for name in Run.__slots__)
    return all((a is None and b is None) or np.array_equal(a, b) for a, b in pairs)

"""Steps: calls of a layer one after another, and its state after each."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from backnorm.audit.boxes import StatefulBox, Visit
from backnorm.audit.measure.inputs import draw_inputs
from backnorm.audit.subject import Run
from backnorm.errors import BacknormError, SubjectError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from backnorm._types import AnyArray
    from backnorm.audit.measure.inputs import Inputs
    from backnorm.audit.probes.examination import Examination
    from backnorm.audit.subject import Subject

__all__ = [
    "NOT_FOLLOWED",
    "after",
    "alike",
    "as_step",
    "drawn_inputs",
    "stateful",
    "states",
    "with_box",
]

NOT_FOLLOWED = "its adapter cannot read its state between calls"


def stateful(examination: Examination) -> StatefulBox | None:
    """Return the box if its state can be followed over calls."""
    box = examination.subject.box
    return box if isinstance(box, StatefulBox) else None


def drawn_inputs(examination: Examination, name: str, batches: Sequence[int]) -> list[Inputs]:
    """Draw inputs for each batch size, in the finest dtype; each has different statistics."""
    rng, dtype = examination.rng(name), examination.subject.dtypes[-1]
    return [draw_inputs(examination.subject, rng, dtype, batch=batch) for batch in batches]


def as_step(inputs: Inputs, *, train: bool = True, backward: bool = True) -> Visit:
    """Return the step that calls a layer with these inputs."""
    return Visit(inputs.x, inputs.gamma, inputs.beta, inputs.dy if backward else None, train)


def after(examination: Examination, box: StatefulBox, steps: Sequence[Visit]) -> StatefulBox:
    """Return the box after some steps, or raise SubjectError if one raises."""
    try:
        return box.after(steps)
    except BacknormError:
        raise
    except Exception as error:
        raise SubjectError.raised(examination.subject.name, error) from error


def states(
    examination: Examination, box: StatefulBox, steps: Sequence[Visit]
) -> tuple[list[StatefulBox], list[Mapping[str, AnyArray]]]:
    """Return the box before the first step and after each, and the state of each."""
    boxes = [box]
    for step in steps:
        boxes.append(after(examination, boxes[-1], [step]))
    return boxes, [box.state() for box in boxes]


def with_box(examination: Examination, box: StatefulBox) -> Subject:
    """Return the subject with another state."""
    return replace(examination.subject, box=box)


def alike(first: Run, second: Run) -> bool:
    """Whether two calls are bitwise identical."""
    pairs = ((getattr(first, name), getattr(second, name)) for name in Run.__slots__)
    return all((a is None and b is None) or np.array_equal(a, b) for a, b in pairs)

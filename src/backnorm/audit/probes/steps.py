"""Calls that a layer is led through, and what its state was after each."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from backnorm.audit.boxes import StatefulBox, Visit
from backnorm.audit.measure.inputs import draw
from backnorm.audit.subject import Run
from backnorm.errors import BacknormError, SubjectError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from backnorm._types import AnyArray
    from backnorm.audit.measure.inputs import Draw
    from backnorm.audit.probes.case import Case
    from backnorm.audit.subject import Subject

__all__ = [
    "NOT_FOLLOWED",
    "after",
    "alike",
    "as_visit",
    "draws_of",
    "stateful",
    "states",
    "with_box",
]

NOT_FOLLOWED = "its adapter cannot read its state between calls"


def stateful(case: Case) -> StatefulBox | None:
    """Return the box if it can be followed over calls."""
    box = case.subject.box
    return box if isinstance(box, StatefulBox) else None


def draws_of(case: Case, name: str, batches: Sequence[int]) -> list[Draw]:
    """Draw an input for each batch size, in the finest format, each with statistics of its own."""
    rng, dtype = case.rng(name), case.subject.dtypes[-1]
    return [draw(case.subject, rng, dtype, batch=batch) for batch in batches]


def as_visit(one: Draw, *, train: bool = True, backward: bool = True) -> Visit:
    """Make a call of a draw."""
    return Visit(one.x, one.gamma, one.beta, one.dy if backward else None, train)


def after(case: Case, box: StatefulBox, visits: Sequence[Visit]) -> StatefulBox:
    """Return the box after some calls, or raise SubjectError if one raises."""
    try:
        return box.after(visits)
    except BacknormError:
        raise
    except Exception as error:
        raise SubjectError.raised(case.subject.name, error) from error


def states(
    case: Case, box: StatefulBox, visits: Sequence[Visit]
) -> tuple[list[StatefulBox], list[Mapping[str, AnyArray]]]:
    """Return the box before all and after each call, and the state that each has."""
    boxes = [box]
    for visit in visits:
        boxes.append(after(case, boxes[-1], [visit]))
    return boxes, [one.state() for one in boxes]


def with_box(case: Case, box: StatefulBox) -> Subject:
    """Return the subject with another state."""
    return replace(case.subject, box=box)


def alike(first: Run, second: Run) -> bool:
    """Whether two calls gave the same bits."""
    pairs = ((getattr(first, name), getattr(second, name)) for name in Run.__slots__)
    return all((a is None and b is None) or np.array_equal(a, b) for a, b in pairs)

"""Try a subject on small inputs: which shapes and formats it takes, and whether modes differ."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np

from backnorm.audit.measure.forward_law import recover_forward_law
from backnorm.audit.measure.inputs import draw_inputs
from backnorm.audit.subject import told
from backnorm.audit.subjects.runner import Run, Step
from backnorm.errors import BacknormError, SubjectError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from backnorm._types import Shape
    from backnorm.audit.kinds import Kind
    from backnorm.audit.subject import Subject

__all__ = ["distinct", "fitted"]

BATCH: Final = 5
"""No number of channels: layers that take samples without a batch axis must not be misled."""

RAISED: Final = "G20"
"""Code of an error in a subject's own code."""

SPATIAL: Final[Mapping[Kind, Sequence[Shape]]] = {
    "batch": ((2, 2), (4,), (), (2, 2, 1)),
    "group": ((2, 2), (4,), (2, 2, 1), ()),
    "instance": ((3, 2), (6,), (3, 2, 1)),
    "layer": ((), (3,)),
    "rms": ((), (3,)),
}
"""Axes beside the channels, in the order in which they are tried: images, sequences, rows,
volumes. For layer and rms they stand before the axes that are normalized over."""


def fitted(subject: Subject) -> Subject:
    """Give a subject the sample shape that suits it, and the formats that it takes.

    A shape suits when the subject runs and normalizes over what its kind says. Where none does,
    the first on which it runs is taken, or the first of all: the audit will say what is wrong.
    """
    candidates = [_with_spatial(subject, spatial) for spatial in SPATIAL[subject.kind]]
    running = [one for one in candidates if _first_run(one, one.dtypes[0]).ran]
    suiting = (one for one in running if _suits(one))
    chosen = next(suiting, (running or candidates)[0])
    first, *others = chosen.dtypes
    taken = (dtype for dtype in others if not running or _first_run(chosen, dtype).ran)
    return replace(chosen, dtypes=(first, *taken))


def distinct(subjects: Sequence[Subject]) -> tuple[Subject, ...]:
    """Name subjects after their modes, or leave one if all do the same.

    The one that is left is judged as training and as evaluation.
    """
    if len(subjects) < 2:  # noqa: PLR2004 - nothing to compare
        return tuple(subjects)
    first, *others = subjects
    if all(_same(first, other) for other in others):
        return (replace(first, call=first.call and "both"),)
    return (first, *(replace(s, name=f"{s.name} ({s.call})") for s in others))


def _with_spatial(subject: Subject, spatial: Shape) -> Subject:
    shape = subject.parameter_shape
    before = subject.kind in ("layer", "rms")
    return replace(subject, sample_shape=spatial + shape if before else shape + spatial)


@dataclass(frozen=True, slots=True, eq=False)
class FirstRun:
    """Whether a subject's own code ran, and what it gave, where that can be used."""

    ran: bool
    run: Run | None = None


def _first_run(subject: Subject, dtype: str) -> FirstRun:
    """Run a subject once."""
    one = draw_inputs(subject, np.random.default_rng(0), dtype, batch=BATCH)
    try:
        return FirstRun(ran=True, run=one.run(subject))
    except SubjectError as error:
        # Else it ran, and gave something that cannot be used.
        return FirstRun(ran=error.code != RAISED)


def _suits(subject: Subject) -> bool:
    """Whether the subject follows a known law on its sample shape."""
    try:
        law = recover_forward_law(subject, np.random.default_rng(0), subject.dtypes[0])

    except BacknormError:
        return False
    return law.mode != "other"


def _same(a: Subject, b: Subject) -> bool:
    """Whether two modes of a subject do the same, in a first call and after a training step."""
    if not _alike(a, b):
        return False
    if "state" not in a.runner.can:
        return True
    step = _training_step(a)
    try:
        with told(a.name):
            later = [replace(one, runner=one.runner.after([step])) for one in (a, b)]
    except SubjectError:
        return True  # the probes of state will meet the same error, and say it
    return _alike(*later)


def _alike(a: Subject, b: Subject) -> bool:
    one, two = _first_run(a, a.dtypes[0]).run, _first_run(b, b.dtypes[0]).run
    if one is None or two is None:
        return one is two
    return all(
        np.array_equal(p, q, equal_nan=True) if p is not None and q is not None else p is q
        for p, q in ((getattr(one, name), getattr(two, name)) for name in Run.__slots__)
    )


def _training_step(subject: Subject) -> Step:
    inputs = draw_inputs(subject, np.random.default_rng(1), subject.dtypes[0], batch=BATCH)
    return Step(inputs.x, inputs.gamma, inputs.beta, inputs.dy)

"""Try a subject on small inputs: which shapes and formats it takes, and whether modes differ."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np

from backnorm.audit.measure.forward_law import recover_forward_law
from backnorm.audit.measure.inputs import draw_inputs
from backnorm.audit.subject import told
from backnorm.audit.subjects.refusals import most_telling
from backnorm.audit.subjects.runner import Run, Step
from backnorm.errors import BacknormError, SubjectError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from backnorm._types import Shape
    from backnorm.audit.kinds import Kind
    from backnorm.audit.measure.forward_law import ForwardLaw
    from backnorm.audit.subject import Subject
    from backnorm.audit.subjects.axes import Axes

__all__ = ["Fit", "better", "distinct", "fit", "fit_as_it_is", "taken"]

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


@dataclass(frozen=True, slots=True, eq=False)
class Fit:
    """A subject with the sample shape that suits it best.

    Attributes
    ----------
    subject
        The subject.
    ran
        Whether it runs on that shape.
    usable
        Whether y and the gradients have the shapes that they should have, and are finite.
    law
        Its forward law there; None where it has none.
    options
        The kind and the order of axes that were found for it, as options of the command; empty
        where they were not searched.
    """

    subject: Subject
    ran: bool
    usable: bool = False
    law: ForwardLaw | None = None
    options: str = ""

    @property
    def suits(self) -> bool:
        """Whether it follows a known law, and all that it returns can be used."""
        return self.usable and self.law is not None and self.law.mode != "other"

    @property
    def is_flat(self) -> bool:
        """Whether its samples have no axis beside the channels, and might have."""
        return self.subject.kind not in ("layer", "rms") and len(self.subject.sample_shape) == 1

    @property
    def explained(self) -> bool:
        """Whether y is a line in x in each row: then it normalizes over what its kind says."""
        return self.law is not None and self.law.straight


def fit(subject: Subject, axes: Axes | None = None, per_parameter: int = 1) -> Fit:
    """Give a subject the sample shape that suits it, with so many channels for each parameter.

    A shape suits when the subject runs and normalizes over what its kind says. Where none does,
    the first on which it runs is taken, or the one whose error says most: the audit will tell it.
    """
    fits = []
    for spatial in _spatial(subject.kind, axes):
        fits.append(fit_as_it_is(_with_spatial(subject, spatial, per_parameter)))
        if fits[-1].suits:
            return fits[-1]
    return better(*fits) if any(one.ran for one in fits) else _best_refused(fits)


def better(*fits: Fit) -> Fit:
    """Return the first fit of those that give what can be used, or else of those that run."""
    return max(fits, key=lambda one: (one.usable, one.ran))


def taken(fit: Fit) -> Subject:
    """Return the subject of a fit, with the formats that it takes."""
    first, *others = fit.subject.dtypes
    formats = (d for d in others if not fit.ran or _first_run(fit.subject, d).ran)
    return replace(fit.subject, dtypes=(first, *formats))


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


def _spatial(kind: Kind, axes: Axes | None) -> Sequence[Shape]:
    """Return the lengths of the axes beside the channels that are tried."""
    if axes is None or axes.others is None:
        return SPATIAL[kind]
    usual = [spatial for spatial in SPATIAL[kind] if len(spatial) == axes.others]
    return usual or [(3, 2, 2, 1)[: axes.others]]


def _with_spatial(subject: Subject, spatial: Shape, per_parameter: int) -> Subject:
    """Return a subject whose samples have these axes beside those of the parameters."""
    first, *others = subject.parameter_shape
    shape = (first * per_parameter, *others)
    # Else an axis that is taken for another would broadcast by accident.
    spatial = tuple(length + (length in shape) for length in spatial)
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


def fit_as_it_is(subject: Subject) -> Fit:
    """Run a subject on its sample shape, and find the law that it follows there."""
    first = _first_run(subject, subject.dtypes[0])
    if not first.ran:
        return Fit(subject, ran=False)
    usable = first.run is not None
    try:
        law = recover_forward_law(subject, np.random.default_rng(0), subject.dtypes[0])
    except BacknormError:
        return Fit(subject, ran=True, usable=usable)
    return Fit(subject, ran=True, usable=usable, law=law)


def _best_refused(fits: Sequence[Fit]) -> Fit:
    """Return the fit whose error says most about the subject."""
    return fits[most_telling([_forward_error(one.subject) for one in fits])]


def _forward_error(subject: Subject) -> SubjectError | None:
    """Return what the forward pass of a subject raises."""
    one = draw_inputs(subject, np.random.default_rng(0), subject.dtypes[0], batch=BATCH)
    try:
        one.forward(subject)
    except SubjectError as error:
        return error
    return None


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

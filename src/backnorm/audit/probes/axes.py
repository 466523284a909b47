"""The gradient on x with other numbers of axes, and without samples."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

import numpy as np

from backnorm.audit.measure.inputs import draw
from backnorm.audit.probes.case import Outcome, passed, skipped
from backnorm.audit.probes.steps import after, as_step, is_followed
from backnorm.audit.probes.trials import UNSOUND, Attempt, judged, quiet, words_of
from backnorm.errors import BacknormError, SubjectError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from backnorm.audit.measure.inputs import Draw
    from backnorm.audit.probes.case import Case

__all__ = ["empty_batch", "other_axes"]

SPATIAL: Final = ((), (5,), (3, 2), (2, 1, 3))
"""Axes beside those that parameters have: x has 2 to 5 axes. No number of them is that of
channels."""


def other_axes(case: Case) -> Outcome:
    """Look at x with as many axes as it has not had so far, and without gamma and beta."""
    if not case.record.sound:
        return skipped(UNSOUND)
    return judged(case, _with_other_axes(case), "I04")


def _with_other_axes(case: Case) -> Iterator[Attempt]:
    subject, dtype, rng = case.subject, case.finest.dtype, case.rng("axes")
    before = subject.kind in ("layer", "rms")
    own = subject.parameter_shape if before else subject.sample_shape[:1]
    for spatial in SPATIAL:
        shape = spatial + own if before else own + spatial
        usual = len(shape) == len(subject.sample_shape)
        if usual or (subject.kind == "instance" and not spatial):
            continue
        other = replace(subject, sample_shape=shape)
        yield Attempt(f"{len(shape) + 1} axes", other, draw(other, rng, dtype, batch=3))
    if subject.has_gamma:
        bare = replace(subject, has_gamma=False, has_beta=False)
        yield Attempt("no gamma and beta given", bare, draw(bare, rng, dtype, batch=3))


def empty_batch(case: Case) -> Outcome:
    """Say what comes of a batch without samples; NaN in the state afterwards is noted."""
    subject = case.subject
    one = draw(subject, case.rng("empty"), case.finest.dtype, batch=2)
    none = replace(one, geometry=subject.geometry(0), x=one.x[:0], dy=one.dy[:0])
    with quiet():
        try:
            none.run(subject)
        except BacknormError as error:
            return skipped(f"it gives no gradient: {words_of(error)}")
        spoilt = _spoilt(case, none)
    what = "an empty batch gives empty y and dx"
    if not spoilt:
        return passed(what)
    note = f"An empty batch leaves NaN in {', '.join(spoilt)}."
    return replace(passed(f"{what}, and NaN in {', '.join(spoilt)}"), notes=(note,))


def _spoilt(case: Case, none: Draw) -> list[str]:
    """Return the names of what an empty batch leaves NaN in."""
    if not is_followed(case):
        return []
    try:
        left = after(case, case.subject.runner, [as_step(none)]).state()
    except SubjectError:
        # It evaluates such a batch, and does not train with it.
        return []
    return [name for name, value in left.items() if not np.isfinite(value).all()]

"""The gradient on x with other numbers of axes, and without samples."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

import numpy as np

from backnorm.audit.measure.inputs import draw_inputs
from backnorm.audit.probes.examination import ProbeOutcome, passed, skipped
from backnorm.audit.probes.steps import after, as_step, is_followed
from backnorm.audit.probes.trials import UNSOUND, Trial, judged, quiet, quoted
from backnorm.errors import BacknormError, SubjectError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from backnorm.audit.measure.inputs import Inputs
    from backnorm.audit.probes.examination import Examination

__all__ = ["empty_batch", "other_axes"]

SPATIAL: Final = ((), (5,), (3, 2), (2, 1, 3))
"""Axes beside those of the parameters: x has 2 to 5 axes. No length is the number of channels."""


def other_axes(examination: Examination) -> ProbeOutcome:
    """Compare the gradient with the derivative for other numbers of axes, and without gamma."""
    if not examination.record.sound:
        return skipped(UNSOUND)
    return judged(examination, _with_other_axes(examination), "I04")


def _with_other_axes(examination: Examination) -> Iterator[Trial]:
    subject, dtype, rng = examination.subject, examination.finest.dtype, examination.rng("axes")
    before = subject.kind in ("layer", "rms")
    own = subject.parameter_shape if before else subject.sample_shape[:1]
    for spatial in SPATIAL:
        shape = spatial + own if before else own + spatial
        usual = len(shape) == len(subject.sample_shape)
        if usual or (subject.kind == "instance" and not spatial):
            continue
        other = replace(subject, sample_shape=shape)
        yield Trial(f"{len(shape) + 1} axes", other, draw_inputs(other, rng, dtype, batch=3))
    if subject.has_gamma and subject.optional:
        bare = replace(subject, has_gamma=False, has_beta=False)
        yield Trial("no gamma and beta given", bare, draw_inputs(bare, rng, dtype, batch=3))


def empty_batch(examination: Examination) -> ProbeOutcome:
    """Run a batch without samples; NaN in the state afterwards is a note."""
    subject = examination.subject
    usual = draw_inputs(subject, examination.rng("empty"), examination.finest.dtype, batch=2)
    empty = replace(usual, geometry=subject.geometry(0), x=usual.x[:0], dy=usual.dy[:0])
    with quiet():
        try:
            empty.run(subject)
        except BacknormError as error:
            return skipped(f"it returns no gradient for an empty batch: {quoted(error)}")
        spoilt = _spoilt(examination, empty)
    what = "an empty batch gives empty y and dx"
    if not spoilt:
        return passed(what)
    note = f"An empty batch leaves NaN in {', '.join(spoilt)}."
    return replace(passed(f"{what}, and NaN in {', '.join(spoilt)}"), notes=(note,))


def _spoilt(examination: Examination, empty: Inputs) -> list[str]:
    """Return the names of the state arrays in which an empty batch leaves NaN."""
    if not is_followed(examination):
        return []
    try:
        state = after(examination, examination.subject.runner, [as_step(empty)]).state()
    except SubjectError:
        # It evaluates such a batch, and does not train with it.
        return []
    return [name for name, value in state.items() if not np.isfinite(value).all()]

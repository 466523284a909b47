"""The gradient on inputs of unusual values: constant, few, large, and gamma = 0."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

import numpy as np

from backnorm.audit.kinds import has_mean
from backnorm.audit.measure.inputs import draw_inputs
from backnorm.audit.probes.examination import skipped
from backnorm.audit.probes.trials import UNSOUND, Trial, judged

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from backnorm.audit.kinds import Kind
    from backnorm.audit.measure.inputs import Inputs
    from backnorm.audit.probes.examination import Examination, ProbeOutcome

__all__ = ["few_values", "gamma_zero", "large_values"]

LARGE: Final = 2.0**20
"""Standard deviation and mean of x: larger than the limits of layers that clip, 1e5 or 1e6."""

CONSTANT: Final[Mapping[Kind, str]] = {
    "batch": "a constant channel",
    "instance": "a constant channel of a sample",
    "group": "a constant group",
    "layer": "a constant row",
    "rms": "a row of zeros",
}
"""The values that share statistics, where they are all the same."""

FAR: Final = 2.0**17
"""Mean of x, at a standard deviation of 1. Ten times as far from 0, rounding in float64 alone
makes errors of 5e-3 where the variance is E[x^2] - E[x]^2."""


def few_values(examination: Examination) -> ProbeOutcome:
    """Compare the gradient with the derivative where a channel is constant, or has few values."""
    if not examination.record.sound:
        return skipped(UNSOUND)
    return judged(examination, _with_few_values(examination), "I02")


def gamma_zero(examination: Examination) -> ProbeOutcome:
    """Compare the gradient with the derivative where one element of gamma is 0."""
    if not examination.record.sound:
        return skipped(UNSOUND)
    subject, rng = examination.subject, examination.rng("gamma zero")
    inputs = draw_inputs(subject, rng, examination.finest.dtype, batch=3)
    if inputs.gamma is None:
        return skipped("it has no gamma")
    gamma = inputs.gamma.copy()
    gamma.flat[0] = 0
    return judged(examination, [Trial("gamma = 0", subject, replace(inputs, gamma=gamma))], "I03")


def large_values(examination: Examination) -> ProbeOutcome:
    """Compare the gradient with the derivative for values far from zero."""
    if not examination.record.sound:
        return skipped(UNSOUND)
    if examination.finest.comparison.resolution == "coarse":
        return skipped("rounding in its dtype is larger than the errors to be found")
    rng, subject = examination.rng("large values"), examination.subject
    wide = draw_inputs(subject, rng, examination.finest.dtype, batch=3, scale=LARGE)
    near = draw_inputs(subject, rng, examination.finest.dtype, batch=3)
    far = replace(near, x=near.x + np.where(near.x > 0, FAR, -FAR).astype(near.x.dtype))
    trials = [
        Trial(f"a scale of {LARGE:.0e}", subject, wide, resolution="coarse"),
        Trial(f"a mean of {FAR:.0e}", subject, far, resolution="coarse"),
    ]
    return judged(examination, trials, "I05")


def _with_few_values(examination: Examination) -> Iterator[Trial]:
    subject, dtype, rng = (
        examination.subject,
        examination.finest.dtype,
        examination.rng("few values"),
    )
    yield Trial(CONSTANT[subject.kind], subject, _with_constant(examination, rng))
    if subject.kind not in ("batch", "instance"):
        return
    channels, *spatial = subject.sample_shape
    single = replace(subject, sample_shape=(channels, *(1 for _ in spatial)))
    if subject.kind == "batch":
        two = draw_inputs(single, rng, dtype, batch=2)
        yield Trial("two values in a channel", single, two)
    inputs = draw_inputs(single, rng, dtype, batch=1)
    yield Trial("one value in a channel", single, inputs, may_be_nan=True)


def _with_constant(examination: Examination, rng: np.random.Generator) -> Inputs:
    """Draw inputs with one constant row, at a scale where eps is as large as the variance."""
    rule = examination.finest.forward_law.variance_rule
    eps = rule.eps if rule else 0.0
    scale = 2.0 ** round(np.log2(eps) / 2) if eps > 0 else 1.0
    inputs = draw_inputs(examination.subject, rng, examination.finest.dtype, batch=3, scale=scale)
    rows = inputs.geometry.rows(inputs.x)
    rows[0] = rows[0, 0] if has_mean(examination.subject.kind) else 0.0
    return replace(inputs, x=inputs.geometry.from_rows(rows).astype(inputs.x.dtype))

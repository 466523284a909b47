"""The gradient on inputs of unusual values: constant, few, large, and gamma = 0."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

import numpy as np

from backnorm.audit.kinds import has_mean
from backnorm.audit.measure.inputs import draw
from backnorm.audit.probes.case import skipped
from backnorm.audit.probes.trials import UNSOUND, Attempt, judged

if TYPE_CHECKING:
    from collections.abc import Iterator

    from backnorm.audit.measure.inputs import Draw
    from backnorm.audit.probes.case import Case, Outcome

__all__ = ["few_values", "gamma_zero", "large_values"]

LARGE: Final = 2.0**20
"""A standard deviation of x, and mean: beyond what a layer would clip that clips at 1e5 or 1e6."""

FAR: Final = 2.0**17
"""A mean of x beside a standard deviation of 1. Ten times as far off, rounding in float64 alone
makes errors of 5e-3 where the variance is E[x^2] - E[x]^2."""


def few_values(case: Case) -> Outcome:
    """Compare the gradient with the derivative where a channel is constant, or has few values."""
    if not case.record.sound:
        return skipped(UNSOUND)
    return judged(case, _with_few_values(case), "I02")


def gamma_zero(case: Case) -> Outcome:
    """Compare the gradient with the derivative where one element of gamma is 0."""
    if not case.record.sound:
        return skipped(UNSOUND)
    if not case.subject.has_gamma:
        return skipped("it has no gamma")
    one = draw(case.subject, case.rng("gamma zero"), case.finest.dtype, batch=3)
    assert one.gamma is not None  # noqa: S101 - has_gamma
    gamma = one.gamma.copy()
    gamma.flat[0] = 0
    return judged(case, [Attempt("gamma = 0", case.subject, replace(one, gamma=gamma))], "I03")


def large_values(case: Case) -> Outcome:
    """Compare the gradient with the derivative for values far from zero."""
    if not case.record.sound:
        return skipped(UNSOUND)
    if case.finest.comparison.resolution == "coarse":
        return skipped("rounding in its dtype is larger than the errors to be found")
    rng, subject = case.rng("large values"), case.subject
    wide = draw(subject, rng, case.finest.dtype, batch=3, scale=LARGE)
    near = draw(subject, rng, case.finest.dtype, batch=3)
    far = replace(near, x=near.x + np.where(near.x > 0, FAR, -FAR).astype(near.x.dtype))
    attempts = [
        Attempt(f"a scale of {LARGE:.0e}", subject, wide, resolution="coarse"),
        Attempt(f"a mean of {FAR:.0e}", subject, far, resolution="coarse"),
    ]
    return judged(case, attempts, "I05")


def _with_few_values(case: Case) -> Iterator[Attempt]:
    subject, dtype, rng = case.subject, case.finest.dtype, case.rng("few values")
    yield Attempt("a constant channel", subject, _with_constant(case, rng))
    if subject.kind not in ("batch", "instance"):
        return
    channels, *spatial = subject.sample_shape
    single = replace(subject, sample_shape=(channels, *(1 for _ in spatial)))
    if subject.kind == "batch":
        two = draw(single, rng, dtype, batch=2)
        yield Attempt("two values in a channel", single, two)
    one = draw(single, rng, dtype, batch=1)
    yield Attempt("one value in a channel", single, one, may_be_nan=True)


def _with_constant(case: Case, rng: np.random.Generator) -> Draw:
    """Draw an input with one row that has no variance; eps is what it is divided by."""
    root = case.finest.law.root
    eps = root.eps if root else 0.0
    scale = 2.0 ** round(np.log2(eps) / 2) if eps > 0 else 1.0
    one = draw(case.subject, rng, case.finest.dtype, batch=3, scale=scale)
    rows = one.geometry.rows(one.x)
    rows[0] = rows[0, 0] if has_mean(case.subject.kind) else 0.0
    return replace(one, x=one.geometry.from_rows(rows).astype(one.x.dtype))

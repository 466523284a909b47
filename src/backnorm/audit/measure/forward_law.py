"""The forward law: which statistics a subject normalizes with, recovered from its y alone."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np

from backnorm.audit.kinds import has_mean
from backnorm.audit.measure.blend import BlendShares, share_in
from backnorm.audit.measure.form import PLAIN, LayerForm, fit_form
from backnorm.audit.measure.forms import forms_of
from backnorm.audit.measure.inputs import draw_inputs
from backnorm.audit.measure.variance_rule import Observed, VarianceRule, find_variance_rule
from backnorm.audit.thresholds import (
    CENTRE_LIMIT,
    FROZEN_LIMIT,
    ROW_FIT_LIMIT,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from backnorm._types import AnyArray, Float64Array
    from backnorm.audit.kinds import Kind
    from backnorm.audit.measure.inputs import Inputs
    from backnorm.audit.measure.row_fit import RowFit
    from backnorm.audit.record import Mode
    from backnorm.audit.subject import Subject

__all__ = ["ForwardLaw", "Scatter", "recover_forward_law", "scatter"]

BATCHES: Final = (2, 5, 16)
"""Batch sizes that are tried: n - 1 and n are far apart in the smallest, the largest is usual."""

SCALES: Final = (2.0**-8, 2.0**-4, 1.0)
"""Standard deviations that are tried: eps of 1e-5 weighs most at the smallest, least at 1."""


@dataclass(frozen=True, slots=True)
class ForwardLaw:
    """The forward law of a subject.

    Attributes
    ----------
    mode
        Statistics of the batch, constants, or something else.
    form
        How y follows from x_hat.
    groups
        Number of groups of channels.
    residual
        What a straight line leaves of y.
    variance_rule
        How inv_std follows from the variance; None unless mode is "batch".
    blend
        The share of the batch in the statistics; None unless mode is "other" and it has a share.
    """

    mode: Mode
    form: LayerForm
    groups: int
    residual: float
    variance_rule: VarianceRule | None = None
    blend: BlendShares | None = None

    @property
    def straight(self) -> bool:
        """Whether y is a straight line in x within each row at all."""
        return self.residual < ROW_FIT_LIMIT

    def without_rule(self) -> ForwardLaw:
        """Return the law of statistics that are not the batch's after all; constants stay."""
        return self if self.mode == "frozen" else replace(self, mode="other", variance_rule=None)

    def __str__(self) -> str:
        if self.mode == "frozen":
            return "constant statistics"
        if not self.straight:
            return "an unknown law: y is not a line in x in each row"
        if self.variance_rule is None:
            return str(self.blend or "statistics that are neither those of x nor constants")
        return str(self.variance_rule)


@dataclass(frozen=True, slots=True, eq=False)
class Scatter:
    """Mean and variance of x in each row, computed here; shapes (R, 1).

    Attributes
    ----------
    mean
        0 for kinds without a mean. [x]
    var
        Mean square deviation from `mean`. [x]^2
    """

    mean: Float64Array
    var: Float64Array


def scatter(kind: Kind, rows: Float64Array) -> Scatter:
    """Compute mean and biased variance of each row."""
    mean = rows.mean(axis=1, keepdims=True) * (1.0 if has_mean(kind) else 0.0)
    return Scatter(mean, np.mean((rows - mean) ** 2, axis=1, keepdims=True))


def recover_forward_law(subject: Subject, rng: np.random.Generator, dtype: str) -> ForwardLaw:
    """Find the law that a subject's y follows.

    Parameters
    ----------
    subject
        The black box; only its forward pass is used.
    rng
        Source of the random inputs.
    dtype
        Dtype of the inputs.

    Returns
    -------
    ForwardLaw
        The law, and how well y follows it.
    """
    # Everything revolves around one fact: whatever statistics a normalization uses, y is a straight
    # line in x within a row, and the line's slope and zero are the inv_std and the centre that were
    # used. So the law is found in three steps, none of which reads the subject's code:
    # 1. fit a line to each row. If y bends (a clamp, an activation), the mode is "other";
    # 2. compare the lines over scales that differ by factors of 16. Lines that stay are constants;
    # 3. otherwise compare each centre with the batch's mean and each slope with the batch's
    #    variance (`find_variance_rule`). Lines that follow neither are mode "other" too.
    # The steps need to know what gamma does: so they run once for each law of gamma, and where none
    # is found, for an activation behind the layer, and for constants beside gamma and beta.
    drawn = [
        draw_inputs(subject, rng, dtype, batch=batch, scale=scale)
        for batch in BATCHES
        for scale in SCALES
    ]
    outputs = [inputs.forward(subject) for inputs in drawn]
    groups = _find_groups(subject, drawn, outputs)
    drawn = [_regroup(subject, inputs, groups) for inputs in drawn]
    laws = []
    for form in forms_of(subject, drawn, outputs, groups):
        laws.append(_law_with(subject.kind, drawn, outputs, form, groups))
        if laws[-1].mode != "other":
            return laws[-1]
    # In a row with one gamma, y is straight under every law of gamma: then take the usual law.
    law = next((law for law in laws if law.straight), laws[0])
    return replace(law, blend=_blend(subject.kind, drawn, outputs, law)) if law.straight else law


def _blend(
    kind: Kind, drawn: Sequence[Inputs], outputs: Sequence[AnyArray], law: ForwardLaw
) -> BlendShares | None:
    """Return the share of the batch in the statistics of each channel; None if it has no share."""
    fits = [fit_form(inputs, y, law.form) for inputs, y in zip(drawn, outputs, strict=True)]
    if kind != "batch" or not all(fit.known.all() and fit.slope.all() for fit in fits):
        return None
    rows = [inputs.geometry.rows(inputs.x) for inputs in drawn]
    own = [scatter(kind, row) for row in rows]
    biased = [one.var for one in own]
    unbiased = [v * r.shape[1] / (r.shape[1] - 1) for v, r in zip(biased, rows, strict=True)]
    found = BlendShares(
        share_in([fit.centre for fit in fits], [[one.mean for one in own]]),
        share_in([1 / fit.slope**2 for fit in fits], [biased, unbiased]),
    )
    return found or None


def _law_with(
    kind: Kind, drawn: Sequence[Inputs], outputs: Sequence[AnyArray], form: LayerForm, groups: int
) -> ForwardLaw:
    """Return the law if y has this form."""
    fits = [fit_form(inputs, y, form) for inputs, y in zip(drawn, outputs, strict=True)]
    other = ForwardLaw("other", form, groups, max(fit.residual for fit in fits))
    if not other.straight:
        return other
    if _is_constant(fits):
        return replace(other, mode="frozen")
    return _batch_law(kind, drawn, fits, other)


def _find_groups(subject: Subject, drawn: Sequence[Inputs], outputs: Sequence[AnyArray]) -> int:
    """Return the number of groups; where it is unknown, the number whose lines fit best."""
    if subject.kind != "group" or subject.groups:
        return max(subject.groups, 1)
    channels = subject.sample_shape[0]
    divisors = [g for g in range(1, channels + 1) if channels % g == 0]

    def residual(groups: int) -> float:
        return max(
            fit_form(_regroup(subject, inputs, groups), y, PLAIN).residual
            for inputs, y in zip(drawn, outputs, strict=True)
        )

    residuals = {groups: residual(groups) for groups in divisors}
    # If y is straight in few groups, it is straight in every finer division too: take the coarsest.
    straight = [groups for groups, left in residuals.items() if left < ROW_FIT_LIMIT]
    return min(straight) if straight else min(residuals, key=lambda groups: residuals[groups])


def _regroup(subject: Subject, inputs: Inputs, groups: int) -> Inputs:
    return replace(inputs, geometry=subject.geometry(len(inputs.x), groups))


def _is_constant(fits: Sequence[RowFit]) -> bool:
    """Whether the lines stay the same for every x: the same row at one scale after another.

    A slope of 0 does not count as a constant: there y does not depend on x.
    """
    if any((fit.slope[fit.known] == 0).any() for fit in fits):
        return False
    alike = [fits[i : i + len(SCALES)] for i in range(0, len(fits), len(SCALES))]
    if not all(fit.known.all() for fit in fits) and len({fit.known.shape for fit in fits}) == 1:
        alike = [fits]  # few rows are known, and a row is the same channel in each batch
    seen = [np.sum([fit.known for fit in same], axis=0).max() > 1 for same in alike]
    return any(seen) and all(
        _spread([fit.slope for fit in same], same) < FROZEN_LIMIT
        and _spread([fit.intercept for fit in same], same, max(fit.reach for fit in same))
        < FROZEN_LIMIT
        for same in alike
    )


def _spread(values: Sequence[Float64Array], fits: Sequence[RowFit], least: float = 0.0) -> float:
    """Return how far values of known rows are apart, relative to their size, or to `least`."""
    stack, known = np.stack(values), np.stack([fit.known[:, None] for fit in fits])
    size = max(float(np.abs(stack).max()), least)
    high, low = np.where(known, stack, -np.inf).max(axis=0), np.where(known, stack, np.inf).min(0)
    return float(np.maximum(high - low, 0.0).max()) / size if size else 0.0


def _batch_law(
    kind: Kind, drawn: Sequence[Inputs], fits: Sequence[RowFit], other: ForwardLaw
) -> ForwardLaw:
    """Return the law over the batch's statistics, or `other` if the lines do not follow them."""
    rows = [d.geometry.rows(d.x)[f.known] for d, f in zip(drawn, fits, strict=True)]
    own = [scatter(kind, r) for r in rows]
    slopes = [fit.slope[fit.known] for fit in fits]
    centres = [fit.centre[fit.known] for fit in fits]
    off = [np.abs((c - s.mean) * a) for c, a, s in zip(centres, slopes, own, strict=True)]
    slope = np.concatenate(slopes)
    if not slope.size or np.concatenate(off).max() > CENTRE_LIMIT or slope.min() <= 0:
        return other
    small = [np.full(s.var.shape, d.scale == min(SCALES)) for s, d in zip(own, drawn, strict=True)]
    observed = Observed(
        var=np.concatenate([s.var for s in own]),
        n=np.concatenate([np.full((len(r), 1), float(r.shape[1])) for r in rows]),
        inv_std=slope,
        small=np.concatenate(small),
    )
    rule = find_variance_rule(observed, unbiased_too=has_mean(kind))
    return other if rule is None else replace(other, mode="batch", variance_rule=rule)

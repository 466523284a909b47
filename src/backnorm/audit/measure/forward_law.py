"""The forward law: which statistics a subject normalizes with, recovered from its own y."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np

from backnorm.audit.kinds import has_mean
from backnorm.audit.measure.inputs import draw
from backnorm.audit.measure.row_fit import GAMMA_LAWS, Line, fit_line
from backnorm.audit.measure.variance_rule import Observed, Root, find_root
from backnorm.audit.thresholds import (
    CENTRE_LIMIT,
    FROZEN_LIMIT,
    LINE_LIMIT,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from backnorm._types import AnyArray, Float64Array
    from backnorm.audit.kinds import Kind
    from backnorm.audit.measure.inputs import Draw
    from backnorm.audit.record import Mode
    from backnorm.audit.subject import Subject

__all__ = ["Law", "Scatter", "recover_law", "scatter"]

BATCHES: Final = (2, 5, 16)
"""Batch sizes of the probes: n - 1 and n are far apart at one end, batches usual at the other."""

SCALES: Final = (2.0**-8, 2.0**-4, 1.0)
"""Standard deviations of the probes: eps of 1e-5 rules at one end and vanishes at the other."""


@dataclass(frozen=True, slots=True)
class Law:
    """The forward law of a subject.

    Attributes
    ----------
    mode
        Statistics of the batch, constants, or something else.
    gamma_law
        What x_hat is multiplied by.
    groups
        Number of groups of channels.
    rest
        What a straight line leaves of y.
    root
        How inv_std follows from the variance; None unless mode is "batch".
    """

    mode: Mode
    gamma_law: str
    groups: int
    rest: float
    root: Root | None = None

    @property
    def straight(self) -> bool:
        """Whether y is a straight line in x within each row at all."""
        return self.rest < LINE_LIMIT

    def __str__(self) -> str:
        if self.mode == "frozen":
            return "constant statistics"
        if self.root is None:
            return "statistics that are neither the batch's nor constants"
        return str(self.root)


@dataclass(frozen=True, slots=True, eq=False)
class Scatter:
    """Statistics of x in each row, computed here; shapes (R, 1).

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


def recover_law(subject: Subject, rng: np.random.Generator, dtype: str) -> Law:
    """Find the law that a subject's y follows.

    Parameters
    ----------
    subject
        The black box; only its forward pass is used.
    rng
        Where the draws come from.
    dtype
        Format of the draws.

    Returns
    -------
    Law
        The law, and how well y follows it.
    """
    draws = [
        draw(subject, rng, dtype, batch=batch, scale=scale) for batch in BATCHES for scale in SCALES
    ]
    outputs = [one.forward(subject) for one in draws]
    groups = _find_groups(subject, draws, outputs)
    draws = [_regroup(subject, one, groups) for one in draws]
    laws = [_law_with(subject.kind, draws, outputs, name, groups) for name in GAMMA_LAWS]
    # Within a row of one gamma every law of gamma is straight: then the usual one is assumed.
    told = [law for law in laws if law.mode != "other"] or [law for law in laws if law.straight]
    return told[0] if told else laws[0]


def _law_with(
    kind: Kind, draws: Sequence[Draw], outputs: Sequence[AnyArray], gamma_law: str, groups: int
) -> Law:
    """Return the law if x_hat is multiplied by what `gamma_law` says."""
    lines = [fit_line(one, y, gamma_law) for one, y in zip(draws, outputs, strict=True)]
    other = Law("other", gamma_law, groups, max(line.rest for line in lines))
    if not other.straight:
        return other
    if _is_constant(lines):
        return replace(other, mode="frozen")
    return _batch_law(kind, draws, lines, other)


def _find_groups(subject: Subject, draws: Sequence[Draw], outputs: Sequence[AnyArray]) -> int:
    """Return the number of groups; where it is unknown, the one whose lines fit best."""
    if subject.kind != "group" or subject.groups:
        return max(subject.groups, 1)
    channels = subject.sample_shape[0]
    divisors = [g for g in range(1, channels + 1) if channels % g == 0]

    def rest(groups: int) -> float:
        return max(
            fit_line(_regroup(subject, one, groups), y).rest
            for one, y in zip(draws, outputs, strict=True)
        )

    rests = {groups: rest(groups) for groups in divisors}
    # A subject with few groups is straight in every finer division too: take the coarsest.
    straight = [groups for groups, left in rests.items() if left < LINE_LIMIT]
    return min(straight) if straight else min(rests, key=lambda groups: rests[groups])


def _regroup(subject: Subject, one: Draw, groups: int) -> Draw:
    return replace(one, geometry=subject.geometry(len(one.x), groups))


def _is_constant(lines: Sequence[Line]) -> bool:
    """Whether the lines stay the same whatever x is: rows of one channel, scale after scale.

    A line without slope is none: there y does not depend on x.
    """
    if any((line.slope == 0).any() for line in lines):
        return False
    per_batch = [lines[i : i + len(SCALES)] for i in range(0, len(lines), len(SCALES))]
    return all(
        _spread([line.slope for line in same]) < FROZEN_LIMIT
        and _spread([line.intercept for line in same], max(line.reach for line in same))
        < FROZEN_LIMIT
        for same in per_batch
    )


def _spread(values: Sequence[Float64Array], least: float = 0.0) -> float:
    """How far values are apart, relative to their size or to `least`: a mean of 0 has no size."""
    stack = np.stack(values)
    size = max(float(np.abs(stack).max()), least)
    return float(np.ptp(stack, axis=0).max()) / size if size else 0.0


def _batch_law(kind: Kind, draws: Sequence[Draw], lines: Sequence[Line], other: Law) -> Law:
    """Return the law over the batch's statistics, or `other` if the lines follow none."""
    rows = [one.geometry.rows(one.x) for one in draws]
    own = [scatter(kind, r) for r in rows]
    off = [np.abs((a.centre - b.mean) * a.slope) for a, b in zip(lines, own, strict=True)]
    slope = np.concatenate([line.slope for line in lines])
    if max(o.max() for o in off) > CENTRE_LIMIT or slope.min() <= 0:
        return other
    small = [np.full(s.var.shape, d.scale == min(SCALES)) for s, d in zip(own, draws, strict=True)]
    observed = Observed(
        var=np.concatenate([s.var for s in own]),
        n=np.concatenate([np.full((len(r), 1), float(r.shape[1])) for r in rows]),
        inv_std=slope,
        small=np.concatenate(small),
    )
    root = find_root(observed, unbiased_too=has_mean(kind))
    return other if root is None else replace(other, mode="batch", root=root)

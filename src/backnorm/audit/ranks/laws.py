"""Which statistics y was normalized with: those of all ranks, of one rank, or of a mixture."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from backnorm.audit.measure.row_fit import fit_between
from backnorm.audit.thresholds import RANKS_LIMIT

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from backnorm._types import AnyArray, Float64Array
    from backnorm.audit.ranks.world import RankAnswer, RankCall

__all__ = [
    "RankStatistics",
    "agrees",
    "counted",
    "counting",
    "differing",
    "extra_of",
    "law_of",
    "mixtures",
    "used",
]


class RankStatistics(NamedTuple):
    """Mean and variance of each channel; shape (C,)."""

    mean: Float64Array
    var: Float64Array


def agrees(value: AnyArray, expected: AnyArray) -> bool:
    """Whether an array is another one, up to rounding; an array without values is."""
    if value.shape != expected.shape or not np.isfinite(value).all():
        return False
    if not value.size:
        return True
    difference = np.abs(value.astype(np.float64) - expected)
    return bool(difference.max() <= RANKS_LIMIT * max(float(np.abs(expected).max()), 1e-30))


def used(call: RankCall, y: AnyArray) -> RankStatistics | None:
    """Return the mean and (variance + eps) that y was normalized with, None if by no such."""
    x, values = _rows(call.x), _rows(y)
    keep = _kept(call)
    if not np.isfinite(values[:, keep]).all():
        return None
    size = (len(x), int(keep.sum()))
    gamma, beta = (
        np.full(size, default) if given is None else np.repeat(given.reshape(-1, 1), size[1], 1)
        for given, default in ((call.gamma, 1.0), (call.beta, 0.0))
    )
    fitted = fit_between(x[:, keep], values[:, keep], gamma, beta)
    if fitted.residual > RANKS_LIMIT or (fitted.slope == 0).any():
        return None
    return RankStatistics(fitted.centre[:, 0], fitted.slope[:, 0] ** -2)


def counted(call: RankCall) -> RankStatistics:
    """Return the statistics of what counts of a part; 0 where nothing does."""
    rows = _rows(call.x)[:, _kept(call)]
    if not rows.size:
        return RankStatistics(np.zeros(len(rows)), np.zeros(len(rows)))
    return RankStatistics(rows.mean(1), rows.var(1))


def extra_of(whole: RankStatistics, call: RankCall) -> Float64Array:
    """Return what a layer adds to the variance of a batch that one rank has."""
    return whole.var - counted(call).var


def mixtures(parts: Sequence[RankCall], extra: Float64Array) -> Mapping[str, RankStatistics]:
    """Return the wrong statistics of several ranks that are known, by what is wrong."""
    each = [counted(part) for part in parts]
    counts = np.array([_kept(part).sum() for part in parts], np.float64)
    shares = counts / counts.sum()
    means, variances = (np.stack(rows) for rows in zip(*each, strict=True))
    plain = means.mean(0)
    squares = (variances + means**2).mean(0) - plain**2
    whole = shares @ means
    return {
        "equal": RankStatistics(plain, squares + extra),
        "within": RankStatistics(whole, shares @ variances + extra),
        "equal, within": RankStatistics(plain, variances.mean(0) + extra),
    }


def law_of(
    parts: Sequence[RankCall],
    answers: Sequence[RankAnswer],
    whole: Sequence[AnyArray],
    alone: Sequence[AnyArray | None],
    known: Mapping[str, RankStatistics],
) -> str:
    """Name the statistics that several ranks have used.

    Parameters
    ----------
    parts, answers
        What the ranks were given, and what they answered.
    whole
        y of each part where one rank has the whole batch.
    alone
        y of each part where one rank has only that part.
    known
        Wrong statistics, by their names.

    Returns
    -------
    str
        "all", "own", a name of `known`, or "other".
    """
    ys = [counting(part, answer.y) for part, answer in zip(parts, answers, strict=True)]
    if _all_agree(parts, ys, whole):
        return "all"
    if _all_agree(parts, ys, alone):
        return "own"
    found = [
        used(part, answer.y)
        for part, answer in zip(parts, answers, strict=True)
        if answer.y is not None and _kept(part).sum() > 1
    ]
    for name, statistics in known.items():
        if all(one is not None and not differing(one, statistics) for one in found):
            return name
    return "other"


def _all_agree(
    parts: Sequence[RankCall],
    ys: Sequence[AnyArray | None],
    expected: Sequence[AnyArray | None],
) -> bool:
    pairs = [(y, counting(part, one)) for part, y, one in zip(parts, ys, expected, strict=True)]
    return all(y is not None and one is not None and agrees(y, one) for y, one in pairs)


def differing(found: RankStatistics, expected: RankStatistics) -> list[str]:
    """Name those of the two statistics that are others than expected."""
    std = np.sqrt(expected.var)
    off = {
        "mean": np.abs(found.mean - expected.mean) / std,
        "variance": np.abs(found.var / expected.var - 1),
    }
    # Ten times the limit of y: the lines are fitted to few values.
    return [name for name, each in off.items() if (each > 10 * RANKS_LIMIT).any()]


def counting(call: RankCall, y: AnyArray | None) -> AnyArray | None:
    """Return what counts of y, channel by channel."""
    return None if y is None else _rows(y)[:, _kept(call)]


def _kept(call: RankCall) -> AnyArray:
    if call.mask is None:
        return np.ones(call.x[:, 0].size, np.bool_)
    return np.asarray(call.mask, np.bool_).reshape(-1)


def _rows(array: AnyArray) -> Float64Array:
    moved = np.moveaxis(np.asarray(array, np.float64), 1, 0)
    return moved.reshape(len(moved), -1) if moved.size else np.zeros((array.shape[1], 0))

"""How a running statistic follows from the old one and from the batch, fitted to a few steps."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

import numpy as np

from backnorm.audit.thresholds import RUNNING_LIMIT, RUNNING_ROUNDING, WEIGHT_LIMIT

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from backnorm._types import AnyArray, Float64Array
    from backnorm.audit.kinds import Geometry, Kind

__all__ = ["Form", "Weighing", "batch_statistics", "fit_running", "same_weight"]

Form: TypeAlias = Literal["weights", "cumulative", "copied", "debiased"]


@dataclass(frozen=True, slots=True)
class Weighing:
    """new = old_weight*old + new_weight*(statistic + offset).

    Attributes
    ----------
    statistic
        Name of what the batch adds.
    form
        The same weights in each step; 1/k of the k-th batch; weights after some batches whose
        statistics were copied; or weights, divided by 1 - old_weight^k.
    old, new
        The weights.
    copied
        How many first batches were copied.
    offset
        What is added to the statistic, such as eps; 0 nearly always.
    misfit
        What this leaves of the steps, relative to them.
    """

    statistic: str
    form: Form
    old: float
    new: float
    copied: int = 0
    offset: float = 0.0
    misfit: float = 0.0

    @property
    def averages(self) -> bool:
        """Whether the weights add up to 1."""
        return same_weight(self.old + self.new, 1.0)

    @property
    def usual(self) -> bool:
        """Whether it is an average, or a sum that takes each batch in full."""
        return self.averages or same_weight(self.new, 1.0)

    @property
    def runs(self) -> bool:
        """Whether it keeps something of earlier batches, and is no mere copy of the last."""
        return self.form != "weights" or not same_weight(self.old, 0.0)


def same_weight(a: float, b: float) -> bool:
    """Whether two weights are the same but for rounding."""
    return abs(a - b) < WEIGHT_LIMIT


def batch_statistics(kind: Kind, geometry: Geometry, x: AnyArray) -> dict[str, Float64Array]:
    """Compute what running statistics may be made of, shapes (C,).

    For kind "instance" these are the means over all samples.
    """
    rows = geometry.rows(x)
    n = rows.shape[1]
    mean, var = rows.mean(axis=1), rows.var(axis=1)
    unbiased = var * n / max(n - 1, 1)
    each = {
        "mean": mean,
        "biased variance": var,
        "unbiased variance": unbiased,
        "biased deviation": np.sqrt(var),
        "unbiased deviation": np.sqrt(unbiased),
    }
    if kind == "instance":
        return {name: value.reshape(len(x), -1).mean(axis=0) for name, value in each.items()}
    return each


def fit_running(
    path: Float64Array, statistics: Sequence[Mapping[str, Float64Array]], count: int
) -> Weighing | None:
    """Find the law that a state array follows.

    Parameters
    ----------
    path
        Its values before all steps and after each; shape (K + 1, C).
    statistics
        What each batch has, by name, shapes (C,).
    count
        How many updates there were before.

    Returns
    -------
    Weighing or None
        The law, or None where none of those known here fits.
    """
    if np.array_equal(path[0], path[-1]):
        return None
    tried = [
        law
        for name in statistics[0]
        for law in _laws(path, np.stack([one[name] for one in statistics]), name, count)
    ]
    fitting = [law for law in tried if law.misfit < RUNNING_LIMIT]
    # min takes the first of equals: the usual laws stand first.
    return min(
        fitting,
        key=lambda law: (max(law.misfit, RUNNING_ROUNDING) > 10 * _best(fitting), not law.usual),
        default=None,
    )


def _best(laws: Sequence[Weighing]) -> float:
    return max(min(law.misfit for law in laws), RUNNING_ROUNDING)


COPIES: Final = (1, 2)


def _laws(path: Float64Array, t: Float64Array, name: str, count: int) -> Iterator[Weighing]:
    """Yield the laws over one statistic, fitted."""
    yield _weighed(path, t, name)
    k = count + np.arange(1.0, len(t) + 1)[:, np.newaxis]
    averaged = Weighing(name, "cumulative", 0.0, 1.0)
    yield replace(averaged, misfit=_misfit(path, path[:-1] * (1 - 1 / k) + t / k))
    for copied in COPIES:
        later = _weighed(path[copied:], t[copied:], name)
        first = _misfit(path[: copied + 1], t[:copied])
        yield replace(later, form="copied", copied=copied, misfit=max(later.misfit, first))
    yield _debiased(path, t, name, count)
    if "variance" in name:
        yield _weighed(path, t, name, with_offset=True)


def _weighed(
    path: Float64Array, t: Float64Array, name: str, *, with_offset: bool = False
) -> Weighing:
    columns = [path[:-1].ravel(), t.ravel()] + [np.ones(t.size)] * with_offset
    matrix = np.stack(columns, axis=1)
    solved = np.linalg.lstsq(matrix, path[1:].ravel(), rcond=None)[0]
    misfit = _misfit(path, (matrix @ solved).reshape(t.shape))
    offset = float(solved[2] / solved[1]) if with_offset and solved[1] else 0.0
    return Weighing(name, "weights", float(solved[0]), float(solved[1]), 0, offset, misfit)


def _debiased(path: Float64Array, t: Float64Array, name: str, count: int) -> Weighing:
    """Average that starts at 0, divided by 1 - old^k: the second update tells the weight.

    It is known at its start and after one update; later, other laws fit as well.
    """
    second = 1 - count
    unknown = Weighing(name, "debiased", 0.0, 1.0, misfit=np.inf)
    if second < 0:
        return unknown
    step = path[second + 1] - path[second]
    left = t[second] - path[second + 1]
    old = float(np.sum(left * step) / max(float(np.sum(step**2)), _TINY))
    if not 0.0 < old < 1.0:
        return unknown
    hidden, made = path[0] * (1 - old) * count, []
    for k, one in enumerate(t, 1 + count):
        hidden = old * hidden + (1 - old) * one
        made.append(hidden / (1 - old**k))
    return Weighing(name, "debiased", old, 1 - old, misfit=_misfit(path, np.stack(made)))


_TINY: Final = float(np.finfo(np.float64).tiny)


def _misfit(path: Float64Array, made: Float64Array) -> float:
    """Size of what a law leaves, relative to the steps."""
    left, steps = np.linalg.norm(path[1:] - made), np.linalg.norm(path[1:] - path[:-1])
    return float(left / steps) if steps else np.inf

"""The running law: how a running statistic follows from its old value and from the batch."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

import numpy as np

from backnorm.audit.thresholds import RUNNING_LIMIT, RUNNING_ROUNDING, WEIGHT_LIMIT

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from backnorm._types import AnyArray, Float64Array
    from backnorm.audit.kinds import Geometry, Kind

__all__ = ["Form", "RunningLaw", "batch_statistics", "fit_running_law", "same_weight"]

Form: TypeAlias = Literal["weights", "cumulative", "copied", "debiased"]


@dataclass(frozen=True, slots=True)
class RunningLaw:
    """The law new_value = old*old_value + new*(statistic + offset).

    Attributes
    ----------
    statistic
        Name of the batch's statistic.
    form
        "weights": the same weights in each step. "cumulative": the k-th batch weighs 1/k. "copied":
        weights, after some batches whose statistics were copied. "debiased": weights, divided by
        1 - old^k when it is read.
    old, new
        The weights.
    copied
        How many batches were copied first.
    offset
        What is added to the statistic, such as eps; nearly always 0.
    residual
        What the law leaves of the steps, relative to them.
    """

    statistic: str
    form: Form
    old: float
    new: float
    copied: int = 0
    offset: float = 0.0
    residual: float = 0.0

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
        """Whether it keeps something of earlier batches, and does not only copy the last one."""
        return self.form != "weights" or not same_weight(self.old, 0.0)


def same_weight(a: float, b: float) -> bool:
    """Whether two weights are the same but for rounding."""
    return abs(a - b) < WEIGHT_LIMIT


def batch_statistics(kind: Kind, geometry: Geometry, x: AnyArray) -> dict[str, Float64Array]:
    """Compute what running statistics may be made of, by name; shapes (C,).

    For kind "instance" each is the mean over all samples.
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


def fit_running_law(
    path: Float64Array, statistics: Sequence[Mapping[str, Float64Array]], count: int
) -> RunningLaw | None:
    """Find the law that a state array follows.

    Parameters
    ----------
    path
        Its values before the first step and after each; shape (K + 1, C).
    statistics
        The statistics of each batch, by name; shapes (C,).
    count
        How many updates there were before the first step.

    Returns
    -------
    RunningLaw or None
        The law, or None where no known law fits.
    """
    if np.array_equal(path[0], path[-1]):
        return None
    # A step has two unknown weights and K steps of C channels give K*C equations, so least squares
    # finds the weights for any statistic; the residual then tells which statistic is the right one.
    # For that the batches must differ in size: with one n, n - 1 for n is the same as another
    # weight. Of 669 fits the right law left 5e-5 of the steps at most, another statistic 2e-2.
    #
    # What forces the last line: several laws may fit down to rounding. Instance normalization has
    # the same n in all batches, so that a biased variance with another weight fits as well as an
    # unbiased one. Residuals below 1e-7, or within a factor of 10, therefore count as equal. Among
    # equals, weights that add up to 1 win, or a sum that takes the batch in full; then the order in
    # `_laws` decides.
    candidates = [
        law
        for name in statistics[0]
        for law in _laws(path, np.stack([one[name] for one in statistics]), name, count)
    ]
    fitting = [law for law in candidates if law.residual < RUNNING_LIMIT]
    # min takes the first of equals: the usual laws come first.
    return min(
        fitting,
        key=lambda law: (max(law.residual, RUNNING_ROUNDING) > 10 * _best(fitting), not law.usual),
        default=None,
    )


def _best(laws: Sequence[RunningLaw]) -> float:
    return max(min(law.residual for law in laws), RUNNING_ROUNDING)


COPIES: Final = (1, 2)


def _laws(path: Float64Array, t: Float64Array, name: str, count: int) -> Iterator[RunningLaw]:
    """Yield the laws over one statistic, fitted."""
    yield _weights(path, t, name)
    k = count + np.arange(1.0, len(t) + 1)[:, np.newaxis]
    averaged = RunningLaw(name, "cumulative", 0.0, 1.0)
    yield replace(averaged, residual=_residual(path, path[:-1] * (1 - 1 / k) + t / k))
    for copied in COPIES:
        later = _weights(path[copied:], t[copied:], name)
        first = _residual(path[: copied + 1], t[:copied])
        yield replace(later, form="copied", copied=copied, residual=max(later.residual, first))
    yield _debiased(path, t, name, count)
    if "variance" in name:
        yield _weights(path, t, name, with_offset=True)


def _weights(
    path: Float64Array, t: Float64Array, name: str, *, with_offset: bool = False
) -> RunningLaw:
    columns = [path[:-1].ravel(), t.ravel()] + [np.ones(t.size)] * with_offset
    matrix = np.stack(columns, axis=1)
    solved = np.linalg.lstsq(matrix, path[1:].ravel(), rcond=None)[0]
    residual = _residual(path, (matrix @ solved).reshape(t.shape))
    offset = float(solved[2] / solved[1]) if with_offset and solved[1] else 0.0
    return RunningLaw(name, "weights", float(solved[0]), float(solved[1]), 0, offset, residual)


def _debiased(path: Float64Array, t: Float64Array, name: str, count: int) -> RunningLaw:
    """Fit an average that starts at 0 and is divided by 1 - old^k, by its second update.

    It can be told from other laws at its start and after one update; later, others fit as well.
    """
    second = 1 - count
    unknown = RunningLaw(name, "debiased", 0.0, 1.0, residual=np.inf)
    if second < 0:
        return unknown
    step = path[second + 1] - path[second]
    left = t[second] - path[second + 1]
    old = float(np.sum(left * step) / max(float(np.sum(step**2)), _TINY))
    if not 0.0 < old < 1.0:
        return unknown
    hidden, predicted = path[0] * (1 - old) * count, []
    for k, statistic in enumerate(t, 1 + count):
        hidden = old * hidden + (1 - old) * statistic
        predicted.append(hidden / (1 - old**k))
    residual = _residual(path, np.stack(predicted))
    return RunningLaw(name, "debiased", old, 1 - old, residual=residual)


_TINY: Final = float(np.finfo(np.float64).tiny)


def _residual(path: Float64Array, predicted: Float64Array) -> float:
    """Size of what a law leaves, relative to the steps."""
    left, steps = np.linalg.norm(path[1:] - predicted), np.linalg.norm(path[1:] - path[:-1])
    return float(left / steps) if steps else np.inf

"""What the columns compute: the update of running statistics, and the rules of eps and gamma.

Everything in which dialects differ is in their rows; nothing here asks which dialect it is.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from backnorm._types import AnyArray, Float64Array
    from backnorm.dialects.columns import Row
    from backnorm.dialects.settings import Settings

__all__ = [
    "BatchStatistics",
    "Running",
    "changes_root",
    "correction",
    "effective",
    "eps_used",
    "gamma_slope",
    "gamma_used",
    "root_used",
    "shares",
    "updated",
]


@dataclass(frozen=True, slots=True, eq=False)
class Running:
    """Running statistics as stored.

    Attributes
    ----------
    mean, var
        As the row's `storage` says, shape (C,), float64. [x], [x]^2
    divisor
        What divides them where they are sums.
    count
        How many updates there were.
    """

    mean: Float64Array
    var: Float64Array
    divisor: float
    count: int


class BatchStatistics(NamedTuple):
    """What a forward pass measured: n is the number of values per channel, var is biased."""

    mean: Float64Array
    var: Float64Array
    inv_std: Float64Array
    n: int


def eps_used(row: Row, settings: Settings, dtype: np.dtype[Any]) -> float:
    """Return eps as it enters the root: rounded to the dtype in which the framework stores it."""
    width = row.eps_width.known
    if width == "float64":
        return settings.eps
    return float(np.asarray(settings.eps).astype(dtype if width == "input" else np.float32))


def changes_root(row: Row, eps: float, dtype: np.dtype[Any], *, frozen: bool) -> bool:
    """Tell whether the framework takes the root of something else than var + eps.

    Rounding var + eps to float32 is not imitated: it moves y by less than rounding y does.
    """
    narrow = dtype.itemsize < np.dtype(np.float32).itemsize
    rounds = row.eps_width.known == "input" and narrow
    return rounds or (not frozen and eps == 0.0 and row.zero_root.known == "zero")


def root_used(
    row: Row, var: Float64Array, eps: float, dtype: np.dtype[Any], *, frozen: bool
) -> Float64Array:
    """Return what the framework takes the root of; infinity stands for an inv_std of 0."""
    root = var + eps
    if row.eps_width.known == "input":
        root = root.astype(dtype).astype(np.float64)
    if not frozen and row.zero_root.known == "zero":
        root = np.where(root == 0.0, np.inf, root)
    return root


def gamma_used(row: Row, settings: Settings, stored: AnyArray | None) -> AnyArray | None:
    """Return the factor that x_hat is multiplied by; None stands for 1."""
    if stored is None or settings.fixed_gamma:
        return None
    if row.gamma_rule.known == "stored":
        return stored
    return (np.abs(stored) + settings.eps).astype(stored.dtype)


def gamma_slope(row: Row, stored: AnyArray) -> AnyArray | float:
    """Return the derivative of that factor with respect to the stored gamma."""
    return 1.0 if row.gamma_rule.known == "stored" else np.sign(stored)


def shares(row: Row, settings: Settings, count: int) -> tuple[float, float]:
    """Return the weights of old and new statistics in the update that follows `count` updates."""
    if count < row.copied_updates.known:
        return 0.0, 1.0
    if settings.keep is None:
        return count / (count + 1), 1 / (count + 1)
    if row.storage.known == "sums and their divisor":
        return settings.keep, 1.0
    return settings.keep, 1.0 - settings.keep


def updated(row: Row, settings: Settings, running: Running, batch: BatchStatistics) -> Running:
    """Return the running statistics after one more batch.

    stored <- old share * stored + new share * statistics of the batch.
    """
    old, new = shares(row, settings, running.count)
    with np.errstate(invalid="ignore", divide="ignore"):  # a NaN of the batch belongs there
        mean = _weighed(old, running.mean, new, batch.mean)
        var = _weighed(old, running.var, new, _variance(row, settings, batch))
    return Running(mean, var, old * running.divisor + 1.0, running.count + 1)


def _weighed(old: float, stored: Float64Array, new: float, value: Float64Array) -> Float64Array:
    """Weigh old and new. Old statistics of weight 0 are not read: memory may be uninitialized."""
    return new * value if old == 0.0 else old * stored + new * value


def _variance(row: Row, settings: Settings, batch: BatchStatistics) -> Float64Array:
    """Return the batch's variance as the dialect stores it."""
    var = batch.var
    if row.variance_from.known == "inv_std":
        var = 1.0 / batch.inv_std**2 - settings.eps
    if row.storage.known == "averages, eps in the variance":
        var = var + settings.eps
    if batch.n == 1 and row.one_value.value == "nan":
        return np.full_like(var, math.nan)
    if row.running_var.known == "unbiased":
        return var * (batch.n / max(batch.n - 1, 1))
    return var


def effective(row: Row, settings: Settings, running: Running) -> tuple[Float64Array, Float64Array]:
    """Return the mean and variance that eval normalizes with, from what is stored."""
    storage = row.storage.known
    if storage == "sums and their divisor":
        factor = 0.0 if running.divisor == 0.0 else 1.0 / running.divisor
        return running.mean * factor, running.var * factor
    if storage == "hidden averages and their count":
        scale = correction(settings, running.count)
        return running.mean / scale, running.var / scale
    return running.mean, running.var


def correction(settings: Settings, count: int) -> float:
    """Return 1 - keep^count, which frees an average of its start at 0; 1 before any update."""
    return 1.0 if count == 0 or settings.keep is None else 1.0 - settings.keep**count

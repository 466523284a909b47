"""What weights of positions add to a mask.

Equal weights are a mask: then a masked call has computed everything but the derivative by them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from backnorm.errors import RangeError
from backnorm.kernels.weighted import WeightedBatch, statistics
from backnorm.ops._arrays import wide
from backnorm.results import WeightedForward

if TYPE_CHECKING:
    from backnorm._types import AnyArray, Float64Array, SumLaw
    from backnorm.results import MaskedForward

__all__ = [
    "WeightShares",
    "batch_of",
    "by_weights",
    "shares_of",
    "weighted_forward",
    "weighted_rows",
]


class WeightShares(NamedTuple):
    """The weights of the positions that count.

    Attributes
    ----------
    shares
        Parts of the total, shape (count,).
    total
        The sum of the weights.
    equal
        Whether they are all the same.
    unbiased
        The factor from the biased variance to the unbiased one.
    """

    shares: Float64Array
    total: float
    equal: bool
    unbiased: float


def shares_of(weights: AnyArray, counts: AnyArray) -> WeightShares:
    """Return what is computed from weights."""
    chosen = weights[counts].astype(np.float64)
    total = float(chosen.sum())
    shares = chosen / total
    # 1 - sum(shares^2) is the sum of the products of all pairs, twice: so nothing cancels.
    pairs = 2.0 * float((shares[1:] * np.cumsum(shares)[:-1]).sum())
    equal = bool((chosen == chosen[:1]).all())
    n = len(chosen)
    if equal:
        unbiased = n / (n - 1) if n > 1 else np.nan
    else:
        unbiased = 1.0 / pairs if pairs > 0.0 else np.nan
    return WeightShares(shares, total, equal, unbiased)


def weighted_rows(
    x: AnyArray, shares: WeightShares, eps: float, sums: SumLaw
) -> Float64Array | None:
    """Return the statistics of values of shape (count, C); None if their weights are equal."""
    if shares.equal:
        return None
    if sums == "exact":
        raise RangeError.exact_weights()
    return statistics(x, shares.shares, eps)


def weighted_forward(
    masked: MaskedForward, weights: AnyArray, shares: WeightShares
) -> WeightedForward:
    """Return the result of a masked call with its weights."""
    unbiased = masked.var * shares.unbiased
    return WeightedForward(
        masked.y,
        masked.n,
        masked.saved,
        masked.mask,
        masked.gathered,
        weights,
        unbiased,
        shares.equal or masked.saved.frozen,
    )


def batch_of(fwd: WeightedForward) -> WeightedBatch:
    """Return what the functions of `kernels.weighted` take."""
    saved = fwd.gathered.saved
    y = None if saved.activation == "identity" else fwd.gathered.y
    shares, total, _, _ = shares_of(fwd.weights, fwd.mask)
    return WeightedBatch(
        saved.x,
        y,
        shares,
        total,
        saved.statistics,
        wide(saved.gamma),
        saved.eps,
        saved.activation,
        saved.negative_slope,
    )


def by_weights(values: Float64Array, fwd: WeightedForward) -> AnyArray:
    """Return a derivative by the weights that count in the shape of the weights; 0 elsewhere."""
    found = np.zeros_like(fwd.weights)
    with np.errstate(over="ignore"):
        found[fwd.mask] = values
    return found

"""Known faults, and the dx that each of them makes.

They only give a name to a gradient that is already known to be wrong: no gradient is judged wrong
because it agrees with one of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from backnorm._types import Float64Array
    from backnorm.audit.measure.parts import PathParts

__all__ = ["KNOWN_FAULTS"]


def _mean_cut_in_square(p: PathParts) -> Float64Array:
    """var = E[x^2] - E[x]^2 with a constant E[x]: M is lost, and V keeps its half V1 = x*..."""
    dx: Float64Array = p.direct - p.x * p.inv_std * _along(p) / p.divisor
    return dx


def _square_cut_only(p: PathParts) -> Float64Array:
    """The same with the constant E[x] inside the variance only: M is there, V has its half V1."""
    dx: Float64Array = p.direct + p.mean - p.x * p.inv_std * _along(p) / p.divisor
    return dx


def _other_divisor(p: PathParts) -> Float64Array:
    """V divided by n - 1 where the forward pass divides by n, or the other way round."""
    n = p.x.shape[1]
    other = n if p.divisor < n else n - 1
    dx: Float64Array = p.direct + p.mean + p.variance * p.divisor / other
    return dx


def _no_gamma(p: PathParts) -> Float64Array:
    """dy goes back without gamma."""
    d = p.dy * p.inv_std
    along = np.sum(d * p.x_hat, axis=1, keepdims=True)
    mean = d.mean(axis=1, keepdims=True) if p.mean.any() else 0.0
    dx: Float64Array = d - mean - p.x_hat * along * p.steepness / p.divisor
    return dx


def _variance_not_divided(p: PathParts) -> Float64Array:
    """The sum in V is not divided by n."""
    dx: Float64Array = p.direct + p.mean + p.variance * p.divisor
    return dx


def _mean_not_divided(p: PathParts) -> Float64Array:
    """The sum in M is not divided by n."""
    dx: Float64Array = p.direct + p.mean * p.x.shape[1] + p.variance
    return dx


def _neither_divided(p: PathParts) -> Float64Array:
    """Neither sum is divided by n."""
    dx: Float64Array = p.direct + p.mean * p.x.shape[1] + p.variance * p.divisor
    return dx


def _divided_by_samples(p: PathParts) -> Float64Array:
    """Both sums are divided by the number of samples, and go over positions as well."""
    positions = p.x.shape[1] / p.samples
    dx: Float64Array = p.direct + (p.mean + p.variance) * positions
    return dx


def _eps_elsewhere(p: PathParts) -> Float64Array:
    """V for eps inside the root, where the forward pass has it outside."""
    dx: Float64Array = p.direct + p.mean + p.variance / p.steepness
    return dx


def _batch_gradient(p: PathParts) -> Float64Array:
    """Training's gradient, made with the batch's statistics, after a forward pass with others."""
    inv_std = 1 / np.sqrt(p.batch_var)
    x_hat = (p.x - p.batch_mean) * inv_std
    d = p.gamma * inv_std * p.dy
    dx: Float64Array = (
        d - d.mean(axis=1, keepdims=True) - x_hat * np.mean(d * x_hat, axis=1, keepdims=True)
    )
    return dx


def _own_gradient(p: PathParts) -> Float64Array:
    """Training's gradient, made with the forward pass's statistics, which are not the batch's."""
    along = np.mean(p.direct * p.x_hat, axis=1, keepdims=True)
    dx: Float64Array = p.direct + p.mean - p.x_hat * along
    return dx


def _renorm_gradient(p: PathParts) -> Float64Array:
    """Training's gradient times the factor of batch renormalization, taken for a constant."""
    x_hat = (p.x - p.batch_mean) / np.sqrt(p.batch_var)
    along = np.mean(p.direct * x_hat, axis=1, keepdims=True)
    dx: Float64Array = p.direct + p.mean - x_hat * along
    return dx


def _along(p: PathParts) -> Float64Array:
    return np.asarray(np.sum(p.direct * p.x_hat, axis=1, keepdims=True))


KNOWN_FAULTS: Final[Mapping[str, Callable[[PathParts], Float64Array]]] = {
    "mean_cut_in_square": _mean_cut_in_square,
    "square_cut_only": _square_cut_only,
    "other_divisor": _other_divisor,
    "no_gamma": _no_gamma,
    "variance_not_divided": _variance_not_divided,
    "mean_not_divided": _mean_not_divided,
    "neither_divided": _neither_divided,
    "divided_by_samples": _divided_by_samples,
    "eps_elsewhere": _eps_elsewhere,
    "batch_gradient": _batch_gradient,
    "own_gradient": _own_gradient,
    "renorm_gradient": _renorm_gradient,
}

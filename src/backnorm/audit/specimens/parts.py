"""What the specimens share: the right forward pass, and the paths of the right gradient."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from backnorm._types import AnyArray

__all__ = [
    "AXES",
    "EPS",
    "RUNNING_MEAN",
    "RUNNING_VAR",
    "Cache",
    "GradientTuple",
    "along",
    "column",
    "direct",
    "mean_of",
    "normalize",
    "parameters",
    "through_mean",
    "through_variance",
]

EPS: Final = 1e-5
AXES: Final = (0, 2, 3)
RUNNING_MEAN: Final = np.array([-1.0, 0.5, 2.0]).reshape(1, 3, 1, 1)
RUNNING_VAR: Final = np.array([0.5, 1.5, 3.0]).reshape(1, 3, 1, 1)

GradientTuple: TypeAlias = "tuple[AnyArray, AnyArray | None, AnyArray | None]"


@dataclass(frozen=True, slots=True, eq=False)
class Cache:
    """What a forward pass keeps: x, x_hat, inv_std, mean, and gamma as a column."""

    x: AnyArray
    x_hat: AnyArray
    inv_std: AnyArray
    mean: AnyArray
    gamma: AnyArray


def column(parameter: AnyArray) -> AnyArray:
    """Return (C,) as (1, C, 1, 1)."""
    return parameter.reshape(1, -1, 1, 1)


def mean_of(array: AnyArray) -> AnyArray:
    """Return the mean of each channel."""
    return np.asarray(array.mean(AXES, keepdims=True))


def normalize(
    x: AnyArray, gamma: AnyArray, beta: AnyArray, mean: AnyArray, inv_std: AnyArray
) -> tuple[AnyArray, Cache]:
    """Return y and the cache for given statistics."""
    x_hat = (x - mean) * inv_std
    y = column(gamma) * x_hat + column(beta)
    return y, Cache(x, x_hat, inv_std, mean, column(gamma))


def direct(dy: AnyArray, cache: Cache) -> AnyArray:
    """D: the gradient if mean and variance are constants."""
    return np.asarray(cache.gamma * cache.inv_std * dy)


def along(dy: AnyArray, cache: Cache) -> AnyArray:
    """Return the mean of d*x_hat in each channel."""
    return mean_of(direct(dy, cache) * cache.x_hat)


def through_mean(dy: AnyArray, cache: Cache) -> AnyArray:
    """M: the path through the mean."""
    return -mean_of(direct(dy, cache))


def through_variance(dy: AnyArray, cache: Cache) -> AnyArray:
    """V: the path through the variance."""
    return -cache.x_hat * along(dy, cache)


def parameters(dy: AnyArray, cache: Cache) -> tuple[AnyArray, AnyArray]:
    """Return dgamma and dbeta."""
    return (dy * cache.x_hat).sum(AXES), dy.sum(AXES)

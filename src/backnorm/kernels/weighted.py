"""Weighted statistics and what follows from them, in NumPy, shared by every kernel.

Values that count are arrays of shape (count, C); each of the count positions has a share of the
total weight, greater than 0, and all shares are 1 together. The letters are those of
docs/mathematics.md: h is x_hat, r is inv_std, and v*r*r is 1 - eps*r*r.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from backnorm.kernels.activations import ACTIVATIONS
from backnorm.results import StatisticsRow

if TYPE_CHECKING:
    from collections.abc import Iterator

    from backnorm._types import Activation, AnyArray, Float64Array

__all__ = [
    "WeightedBatch",
    "WeightedSecond",
    "WeightedSteps",
    "gradients",
    "second",
    "statistics",
    "tangent",
]

# Number of values converted to float64 at a time; more if one channel has more.
TILE = 1 << 16


class WeightedBatch(NamedTuple):
    """What was normalized, and how.

    Attributes
    ----------
    x, y
        Shape (count, C). y is None without an activation.
    shares
        Shape (count,), float64.
    total
        The sum of the weights: a derivative by a weight is one by its share, divided by it.
    statistics
        Rows as in `StatisticsRow`, shape (4, C).
    gamma
        Shape (C,), float64; None stands for 1.
    eps, activation, negative_slope
        As in `backnorm.batch_norm`.
    """

    x: AnyArray
    y: AnyArray | None
    shares: Float64Array
    total: float
    statistics: Float64Array
    gamma: Float64Array | None
    eps: float
    activation: Activation
    negative_slope: float


class WeightedSteps(NamedTuple):
    """Tangents, or gradients of gradients: of x and the residual, the weights, gamma and beta.

    None stands for 0.
    """

    x: AnyArray | None
    residual: AnyArray | None
    weights: Float64Array | None
    gamma: Float64Array | None
    beta: Float64Array | None


class WeightedSecond(NamedTuple):
    """By x and dy, shape (count, C), by gamma, shape (C,), and by the weights, shape (count,)."""

    x: AnyArray
    dy: AnyArray
    gamma: Float64Array
    weights: Float64Array


class _Part(NamedTuple):
    """Some channels; one row a channel, so that NumPy adds pairwise."""

    select: slice
    h: Float64Array
    r: Float64Array
    curve: Float64Array  # h*h - v*r*r: by it and h*d the variance depends on a weight
    gamma: Float64Array


def statistics(x: AnyArray, shares: Float64Array, eps: float) -> Float64Array:
    """Return mean, its low part, variance and inv_std of each channel, shape (4, C)."""
    found = np.empty((4, x.shape[1]))
    with np.errstate(all="ignore"):  # the caller's NaN and infinity stay in their channel
        for select in _selections(x):
            values, rows = _rows(x, select), found[:, select]
            mean = (values * shares).sum(1)
            values -= mean[:, None]
            # As in the NumPy kernel: 0 but for the rounding of the mean, which it corrects.
            low = (values * shares).sum(1)
            square = (values * values * shares).sum(1)
            rows[StatisticsRow.MEAN] = mean + low
            rows[StatisticsRow.MEAN_LOW] = (mean - rows[StatisticsRow.MEAN]) + low
            rows[StatisticsRow.VAR] = np.maximum(square - low * low, 0.0)
            rows[StatisticsRow.INV_STD] = 1.0 / np.sqrt(rows[StatisticsRow.VAR] + eps)
    return found


def gradients(
    dy: AnyArray, batch: WeightedBatch, *, through_mean: bool, through_variance: bool
) -> tuple[Float64Array, Float64Array, Float64Array, Float64Array]:
    """Return dx and dresidual, shape (count, C), the sums dgamma and dbeta, (2, C), and dmask."""
    dx, dresidual = np.empty(batch.x.shape), np.empty(batch.x.shape)
    sums, dmask = np.empty((2, batch.x.shape[1])), np.zeros(len(batch.x))
    p = batch.shares
    with np.errstate(all="ignore"):
        for part in _parts(batch):
            dz = _through_activation(_rows(dy, part.select), batch, part.select)
            dresidual[:, part.select] = dz.T
            sums[:, part.select] = (dz * part.h).sum(1), dz.sum(1)
            along_h, along = (row[:, None] for row in sums[:, part.select])
            by_share = np.zeros_like(dz)
            d = dz
            if through_mean:
                d = d - p * along
                by_share -= part.h * along
            if through_variance:
                d = d - p * part.h * along_h
                by_share -= part.curve * along_h / 2
            dx[:, part.select] = (d * (part.gamma * part.r)).T
            dmask += (by_share * part.gamma).sum(0)
    return dx, dresidual, sums, dmask / batch.total


def tangent(
    steps: WeightedSteps,
    batch: WeightedBatch,
    *,
    through_mean: bool = True,
    through_variance: bool = True,
) -> Float64Array:
    """Return the tangent of y, shape (count, C)."""
    found = np.empty(batch.x.shape)
    with np.errstate(all="ignore"):
        for part in _parts(batch):
            t = _tangent(steps, batch, part, (through_mean, through_variance))
            found[:, part.select] = _through_activation(t, batch, part.select).T
    return found


def _tangent(
    steps: WeightedSteps, batch: WeightedBatch, part: _Part, through: tuple[bool, bool]
) -> Float64Array:
    u, q = _step(steps.x, part), _by_share(steps, batch)
    mean = (q * part.h).sum(1) + part.r[:, 0] * (batch.shares * u).sum(1)
    spread = (q * part.curve).sum(1) / 2 + part.r[:, 0] * (batch.shares * u * part.h).sum(1)
    t = part.r * u
    t -= through[0] * mean[:, None] + part.h * (through[1] * spread[:, None])
    t *= part.gamma
    if steps.gamma is not None:
        t += part.h * steps.gamma[part.select, None]
    if steps.beta is not None:
        t += steps.beta[part.select, None]
    return t if steps.residual is None else t + _rows(steps.residual, part.select)


def second(steps: WeightedSteps, dy: AnyArray, batch: WeightedBatch) -> WeightedSecond:
    """Return the gradient of the sum of steps times gradients, in both statistics.

    With S = sum(dz), T = sum(dz*h) and the sums U, P, H, K below it is the gradient of
    F = gamma*(r*(sum(u*dz) - U*S - T*P) - H*S - T*K/2) + a*T + b*S.
    """
    for_x, for_dy = np.empty(batch.x.shape), np.empty(batch.x.shape)
    for_gamma, for_weights = np.empty(batch.x.shape[1]), np.zeros(len(batch.x))
    p, q = batch.shares, _by_share(steps, batch)
    with np.errstate(all="ignore"):
        for part in _parts(batch):
            h, r, gamma, select = part.h, part.r, part.gamma, part.select
            dz = _through_activation(_rows(dy, select), batch, select)
            u, a = _step(steps.x, part), _channel_step(steps.gamma, part)
            s, t = _sum(dz), _sum(dz * h)
            u_sum, p_sum, h_sum, k_sum = map(_sum, (p * u, p * u * h, q * h, q * part.curve))
            of_dx = _sum(u * dz) - u_sum * s - t * p_sum
            for_gamma[select] = (r * of_dx - h_sum * s - t * k_sum / 2)[:, 0]
            by_h = a * dz - gamma * (
                r * (dz * p_sum + t * p * u) + q * s + dz * k_sum / 2 + t * q * h
            )
            by_r = gamma * r * (of_dx - t * batch.eps * r * q.sum())  # times r
            by_h_sum, along_h = _sum(by_h), _sum(by_h * h) + by_r
            for_x[:, select] = (r * (by_h - p * (by_h_sum + h * along_h))).T
            by_share = gamma * r * (s * (u_sum - u) + t * (p_sum - u * h))
            by_share += gamma * (h_sum * s + t * k_sum / 2)
            for_weights += (by_share - h * by_h_sum - part.curve * along_h / 2).sum(0)
            for_dz = _tangent(steps, batch, part, (True, True))
            for_dy[:, select] = _through_activation(for_dz, batch, select).T
    return WeightedSecond(for_x, for_dy, for_gamma, for_weights / batch.total)


def _parts(batch: WeightedBatch) -> Iterator[_Part]:
    for select in _selections(batch.x):
        rows = batch.statistics[:, select, None]
        r = rows[StatisticsRow.INV_STD]
        h = _rows(batch.x, select) - rows[StatisticsRow.MEAN]
        h = (h - rows[StatisticsRow.MEAN_LOW]) * r
        gamma = np.ones_like(r) if batch.gamma is None else batch.gamma[select, None]
        yield _Part(select, h, r, h * h - rows[StatisticsRow.VAR] * r * r, gamma)


def _selections(x: AnyArray) -> Iterator[slice]:
    count, c = x.shape
    width = max(1, TILE // max(count, 1))
    for start in range(0, c, width):
        yield slice(start, min(start + width, c))


def _rows(array: AnyArray, select: slice) -> Float64Array:
    """Return some channels as (c, count), in float64 and contiguous."""
    return np.ascontiguousarray(array[:, select].astype(np.float64).T)


def _through_activation(values: Float64Array, batch: WeightedBatch, select: slice) -> Float64Array:
    if batch.y is None:
        return values
    grad_through = ACTIVATIONS[batch.activation].grad_through
    return grad_through(values, batch.y[:, select].T, batch.negative_slope)


def _step(array: AnyArray | None, part: _Part) -> Float64Array:
    return np.zeros_like(part.h) if array is None else _rows(array, part.select)


def _channel_step(values: Float64Array | None, part: _Part) -> Float64Array:
    return np.zeros_like(part.r) if values is None else values[part.select, None]


def _by_share(steps: WeightedSteps, batch: WeightedBatch) -> Float64Array:
    return np.zeros_like(batch.shares) if steps.weights is None else steps.weights / batch.total


def _sum(values: Float64Array) -> Float64Array:
    total: Float64Array = values.sum(1, keepdims=True)
    return total

"""Forward mode and second derivatives in NumPy, shared by every kernel.

They are rarely called, and not in the inner loop of training. So they are written once, in float64,
a few channels at a time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from backnorm.kernels.activations import ACTIVATIONS
from backnorm.results import StatisticsRow

if TYPE_CHECKING:
    from collections.abc import Iterator

    from backnorm._types import AnyArray, Float64Array, Shape
    from backnorm.kernels._contract import SecondCall, TangentCall

__all__ = ["second", "tangent"]

# Number of values converted to float64 at a time; more if one channel has more.
TILE = 1 << 16


class _Channels(NamedTuple):
    """Some channels in float64; x_hat has shape (outer, c, inner), the others (c, 1)."""

    select: slice
    x_hat: Float64Array
    inv_std: Float64Array
    scale: Float64Array


def tangent(call: TangentCall) -> None:
    """Compute y_tangent as `_contract.TangentCall` says."""
    with np.errstate(all="ignore"):
        for part in _split(call.x, call.statistics, call.gamma):
            t = call.x_tangent[:, part.select].astype(np.float64)
            y_tangent = t * part.scale
            if call.through_mean:
                y_tangent -= _mean(t) * part.scale
            if call.through_variance:
                y_tangent -= part.x_hat * (_mean(t * part.x_hat) * part.scale)
            if call.gamma_tangent is not None:
                y_tangent += part.x_hat * call.gamma_tangent[part.select, None]
            if call.beta_tangent is not None:
                y_tangent += call.beta_tangent[part.select, None]
            if call.residual_tangent is not None:
                y_tangent += call.residual_tangent[:, part.select].astype(np.float64)
            call.y_tangent[:, part.select] = _grad_through_activation(y_tangent, call, part.select)


def second(call: SecondCall) -> None:
    """Compute the second derivative as `_contract.SecondCall` says."""
    with np.errstate(all="ignore"):
        for part in _split(call.x, call.statistics, call.gamma):
            dy = call.dy[:, part.select].astype(np.float64)
            dz = _grad_through_activation(dy, call, part.select)
            u = _cotangent(call.ddx, part)
            p = _per_channel(call.ddgamma, part)
            for_dz = part.x_hat * p + _per_channel(call.ddbeta, part)
            for_dz += _cotangent(call.ddresidual, part)
            curve = _frozen if call.frozen else _batch
            for_x, of_dx, gamma_sum = curve(part, u, dz, p)
            call.x_out[:, part.select] = for_x
            for_dz += of_dx
            call.dy_out[:, part.select] = _grad_through_activation(for_dz, call, part.select)
            call.gamma_out[part.select] = gamma_sum[:, 0]


def _frozen(
    part: _Channels, u: Float64Array, dz: Float64Array, p: Float64Array
) -> tuple[Float64Array, Float64Array, Float64Array]:
    return p * part.inv_std * dz, part.scale * u, part.inv_std * _sum(u * dz)


def _batch(
    part: _Channels, u: Float64Array, dz: Float64Array, p: Float64Array
) -> tuple[Float64Array, Float64Array, Float64Array]:
    """Return the gradients with respect to x, dz and gamma through dx (docs/mathematics.md)."""
    u_hat, dz_hat = _mean(u * part.x_hat), _mean(dz * part.x_hat)
    u_projected = u - _mean(u) - part.x_hat * u_hat
    product = _sum(u_projected * dz)
    n = dz.shape[0] * dz.shape[2]
    for_x_hat = p * dz - part.scale * (u * dz_hat + dz * u_hat)
    for_x = for_x_hat - _mean(for_x_hat) - part.x_hat * _mean(for_x_hat * part.x_hat)
    for_x -= part.x_hat * (part.scale * product / n)
    return for_x * part.inv_std, part.scale * u_projected, part.inv_std * product


def _split(
    x: AnyArray, statistics: Float64Array, gamma: Float64Array | None
) -> Iterator[_Channels]:
    for select in _selections(x.shape):
        rows = statistics[:, select, None]
        inv_std = rows[StatisticsRow.INV_STD]
        x_hat = ((x[:, select] - rows[StatisticsRow.MEAN]) - rows[StatisticsRow.MEAN_LOW]) * inv_std
        scale = inv_std if gamma is None else inv_std * gamma[select, None]
        yield _Channels(select, x_hat, inv_std, scale)


def _selections(shape: Shape) -> Iterator[slice]:
    outer, c, inner = shape
    width = max(1, TILE // max(outer * inner, 1))
    for start in range(0, c, width):
        yield slice(start, min(start + width, c))


def _grad_through_activation(
    values: Float64Array, call: TangentCall | SecondCall, select: slice
) -> Float64Array:
    if call.y is None:
        return values
    grad_through = ACTIVATIONS[call.activation].grad_through
    return grad_through(values, call.y[:, select], call.negative_slope)


def _cotangent(array: AnyArray | None, part: _Channels) -> Float64Array:
    if array is None:
        return np.zeros_like(part.x_hat)
    values: Float64Array = array[:, part.select].astype(np.float64)
    return values


def _per_channel(values: Float64Array | None, part: _Channels) -> Float64Array:
    return np.zeros_like(part.inv_std) if values is None else values[part.select, None]


def _sum(values: Float64Array) -> Float64Array:
    total: Float64Array = values.sum(axis=(0, 2))[:, None]
    return total


def _mean(values: Float64Array) -> Float64Array:
    mean: Float64Array = _sum(values) / (values.shape[0] * values.shape[2])
    return mean

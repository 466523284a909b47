"""What the primitives compute, in jax.numpy: docs/mathematics.md.

It runs where the kernels do not, and JAX differentiates it for derivatives of higher orders. The
statistics are arguments, so that a derivative goes through them by the chain rule.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from jax import numpy as jnp

from backnorm.jax.engine.activations import ACTIVATIONS
from backnorm.jax.engine.sums import average, per_channel, reduced, total

if TYPE_CHECKING:
    from collections.abc import Sequence

    import jax

    from backnorm.jax.engine.options import PrimitiveOptions

__all__ = ["ChannelStatistics", "centred", "gradient", "inverse_deviation", "normalize", "tangent"]


@dataclass(frozen=True, slots=True, eq=False)
class ChannelStatistics:
    """Statistics of each channel, shape (C,); mean + low is the mean in twice the precision."""

    mean: jax.Array
    low: jax.Array
    var: jax.Array


def inverse_deviation(var: jax.Array, eps: float | jax.Array) -> jax.Array:
    """Return 1/sqrt(var + eps); not rsqrt, which is an approximation on some platforms."""
    return 1 / jnp.sqrt(var + eps)


def centred(x: jax.Array, mean: jax.Array, low: jax.Array, axis: int) -> jax.Array:
    """Return x - mean in the dtype of the statistics, exact at any offset."""
    high = x.astype(mean.dtype) - per_channel(mean, x.ndim, axis)
    return high - per_channel(low, x.ndim, axis)


def normalize(
    x: jax.Array,
    scale: jax.Array,
    bias: jax.Array,
    residual: jax.Array | None,
    statistics: ChannelStatistics,
    inv_std: jax.Array,
    options: PrimitiveOptions,
) -> jax.Array:
    """Return y, in the dtype of x."""
    axis = options.axis
    deviation = centred(x, statistics.mean, statistics.low, axis)
    z = deviation * per_channel(scale * inv_std, x.ndim, axis) + per_channel(bias, x.ndim, axis)
    if residual is not None:
        z = z + residual.astype(z.dtype)
    return ACTIVATIONS[options.activation].apply(z, options.negative_slope).astype(x.dtype)


def tangent(
    steps: Sequence[jax.Array],
    moving: Sequence[jax.Array],
    y: jax.Array | None,
    options: PrimitiveOptions,
) -> list[jax.Array]:
    """Return the step of y, of the steps of x, scale, bias and the residual.

    moving is x, scale, mean, low and inv_std, on which it depends as well.
    """
    x, scale, mean, low, inv_std = moving
    axis, ndim = options.axis, x.ndim
    x_step, scale_step, bias_step, *residual_step = steps
    x_hat = centred(x, mean, low, axis) * per_channel(inv_std, ndim, axis)
    z_step = _project(x_step.astype(mean.dtype), x_hat, _of_variance(x_hat, options), options)
    z_step = z_step * per_channel(scale * inv_std, ndim, axis)
    z_step = z_step + x_hat * per_channel(scale_step, ndim, axis)
    z_step = z_step + per_channel(bias_step, ndim, axis)
    for step in residual_step:
        z_step = z_step + step.astype(mean.dtype)
    return [_grad_through_activation(z_step, y, options).astype(x.dtype)]


def gradient(
    dy: jax.Array, moving: Sequence[jax.Array], y: jax.Array | None, options: PrimitiveOptions
) -> list[jax.Array]:
    """Return dx, dscale, dbias and dresidual: `tangent`, transposed."""
    x, scale, mean, low, inv_std = moving
    axis, ndim = options.axis, x.ndim
    x_hat = centred(x, mean, low, axis) * per_channel(inv_std, ndim, axis)
    dz = _grad_through_activation(dy.astype(mean.dtype), y, options)
    projected = _project(dz, _of_variance(x_hat, options), x_hat, options)
    dx = projected * per_channel(scale * inv_std, ndim, axis)
    axes = reduced(ndim, axis)
    gradients = [dx.astype(x.dtype), total(dz * x_hat, axes), total(dz, axes)]
    return gradients + [dz.astype(x.dtype)] * options.has_residual


def _project(
    values: jax.Array, outer: jax.Array, inner: jax.Array, options: PrimitiveOptions
) -> jax.Array:
    """Subtract the paths through the mean and the variance; outer and inner are both x_hat."""
    result = values
    if options.through_mean:
        result = result - average(values, options.axis)
    if options.through_variance:
        result = result - outer * average(values * inner, options.axis)
    return result


def _of_variance(x_hat: jax.Array, options: PrimitiveOptions) -> jax.Array:
    """Return x_hat as the step of the variance has it.

    The mean in it is that of x, also where the mean in y is a constant. Then its own mean, 0, is
    subtracted, which changes further derivatives and no value.
    """
    cut = options.through_variance and not options.through_mean
    return x_hat - average(x_hat, options.axis) if cut else x_hat


def _grad_through_activation(
    values: jax.Array, y: jax.Array | None, options: PrimitiveOptions
) -> jax.Array:
    if y is None:
        return values
    grad_through = ACTIVATIONS[options.activation].grad_through
    return grad_through(values, y, options.negative_slope)

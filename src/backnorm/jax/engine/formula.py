"""What the primitives compute, in jax.numpy: docs/mathematics.md.

It runs where the kernels do not, and JAX differentiates it for derivatives of higher orders. The
statistics are arguments, so that a derivative goes through them by the chain rule.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from jax import numpy as jnp

from backnorm.jax.engine.activations import ACTIVATIONS
from backnorm.jax.engine.sums import per_channel, reduced, total

if TYPE_CHECKING:
    from collections.abc import Sequence

    import jax

    from backnorm.jax.engine.options import PrimitiveOptions

__all__ = [
    "ChannelStatistics",
    "average",
    "centred",
    "gradient",
    "inverse_deviation",
    "normalize",
    "tangent",
]


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


def average(values: jax.Array, counts: jax.Array | None, options: PrimitiveOptions) -> jax.Array:
    """Return the mean of each channel over the batch, in a shape that broadcasts over the values.

    Where positions do not count, the values there are 0.
    """
    axis = options.axis
    sums = total(values, reduced(values.ndim, axis))
    if counts is None:
        return per_channel(sums / (values.size // max(values.shape[axis], 1)), values.ndim, axis)
    if options.parts is not None:
        sums = options.parts.added(sums)
    return per_channel(sums / jnp.maximum(counts, 1).astype(sums.dtype), values.ndim, axis)


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
    counts: jax.Array | None,
    options: PrimitiveOptions,
) -> list[jax.Array]:
    """Return the step of y, of the steps of x, scale, bias and the residual.

    moving is x, scale, mean, low and inv_std, on which it depends as well.
    """
    x, scale, mean, low, inv_std = moving
    axis, ndim = options.axis, x.ndim
    x_step, scale_step, bias_step, *residual_step = steps
    x_hat = centred(x, mean, low, axis) * per_channel(inv_std, ndim, axis)
    inner = _of_variance(x_hat, counts, options)
    z_step = _project(x_step.astype(mean.dtype), x_hat, inner, counts, options)
    z_step = z_step * per_channel(scale * inv_std, ndim, axis)
    z_step = z_step + x_hat * per_channel(scale_step, ndim, axis)
    z_step = z_step + per_channel(bias_step, ndim, axis)
    for step in residual_step:
        z_step = z_step + step.astype(mean.dtype)
    return [_grad_through_activation(z_step, y, options).astype(x.dtype)]


def gradient(
    dy: jax.Array,
    moving: Sequence[jax.Array],
    y: jax.Array | None,
    counts: jax.Array | None,
    options: PrimitiveOptions,
) -> list[jax.Array]:
    """Return dx, dscale, dbias and dresidual: `tangent`, transposed."""
    x, scale, mean, low, inv_std = moving
    axis, ndim = options.axis, x.ndim
    x_hat = centred(x, mean, low, axis) * per_channel(inv_std, ndim, axis)
    dz = _grad_through_activation(dy.astype(mean.dtype), y, options)
    # The scale comes first: parts of a batch may have different ones.
    scaled = dz * per_channel(scale, ndim, axis)
    projected = _project(scaled, _of_variance(x_hat, counts, options), x_hat, counts, options)
    dx = projected * per_channel(inv_std, ndim, axis)
    sums = [total(values, reduced(ndim, axis)) for values in (dz * x_hat, dz)]
    if options.shared and options.parts is not None:
        sums = list(map(options.parts.added, sums))
    gradients = [dx.astype(x.dtype), *sums]
    return gradients + [dz.astype(x.dtype)] * options.has_residual


def _project(
    values: jax.Array,
    outer: jax.Array,
    inner: jax.Array,
    counts: jax.Array | None,
    options: PrimitiveOptions,
) -> jax.Array:
    """Subtract the paths through the mean and the variance; outer and inner are both x_hat."""
    result = values
    if options.through_mean:
        result = result - average(values, counts, options)
    if options.through_variance:
        result = result - outer * average(values * inner, counts, options)
    return result


def _of_variance(
    x_hat: jax.Array, counts: jax.Array | None, options: PrimitiveOptions
) -> jax.Array:
    """Return x_hat as the step of the variance has it.

    The mean in it is that of x, also where the mean in y is a constant. Then its own mean, 0, is
    subtracted, which changes further derivatives and no value.
    """
    cut = options.through_variance and not options.through_mean
    return x_hat - average(x_hat, counts, options) if cut else x_hat


def _grad_through_activation(
    values: jax.Array, y: jax.Array | None, options: PrimitiveOptions
) -> jax.Array:
    if y is None:
        return values
    grad_through = ACTIVATIONS[options.activation].grad_through
    return grad_through(values, y, options.negative_slope)

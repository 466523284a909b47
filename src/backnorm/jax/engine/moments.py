"""The statistics of a batch, of which positions may not count and parts may be elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jax import lax
from jax import numpy as jnp

from backnorm.jax.engine.formula import ChannelStatistics
from backnorm.jax.engine.sums import per_channel, reduced, total

if TYPE_CHECKING:
    import jax

    from backnorm.jax.engine.parts import Parts

__all__ = ["batch_moments"]


def batch_moments(
    x: jax.Array,
    axis: int,
    wide: jnp.dtype,
    n: jax.Array,
    mask: jax.Array | None = None,
    parts: Parts | None = None,
) -> ChannelStatistics:
    """Return the statistics of n values a channel in the dtype `wide`.

    x is finite where it does not count. A part in which nothing counts adds zeros, so that parts
    weigh by their counts.
    """
    axes = reduced(x.ndim, axis)
    counts = None if mask is None else jnp.expand_dims(mask, axis)
    divisor = jnp.maximum(n, 1).astype(wide)

    def sum_of(values: jax.Array) -> jax.Array:
        sums = total(values if counts is None else jnp.where(counts, values, 0), axes)
        return sums if parts is None else parts.added(sums)

    # Around a first mean, rounded, the deviations are exact to the precision of x at any offset;
    # their mean is the second part of it. E[x^2] - E[x]^2 would cancel.
    x = x.astype(wide)
    first = sum_of(lax.stop_gradient(x) / divisor)  # divided before it is added: no overflow
    deviation = x - per_channel(first, x.ndim, axis)
    second = sum_of(deviation) / divisor
    deviation = deviation - per_channel(second, x.ndim, axis)
    mean = first + second
    var = sum_of(deviation * deviation) / divisor
    return ChannelStatistics(mean, (first - mean) + second, var)

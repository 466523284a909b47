"""The statistics of a batch, of which positions may not count and parts may be elsewhere."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from jax import lax
from jax import numpy as jnp

from backnorm.jax.engine.formula import ChannelStatistics
from backnorm.jax.engine.sums import per_channel, reduced, total

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence

    import jax

__all__ = ["Parts", "batch_moments", "count"]


@dataclass(frozen=True, slots=True)
class Parts:
    """Where the other parts of the batch are: as the arguments of `jax.lax.psum`."""

    axis_name: Hashable
    axis_index_groups: Sequence[Sequence[int]] | None

    def added(self, values: jax.Array) -> jax.Array:
        """Return the sum over all parts."""
        groups = self.axis_index_groups
        return lax.psum(values, self.axis_name, axis_index_groups=groups)


def count(
    x: jax.Array, axis: int, mask: jax.Array | None = None, parts: Parts | None = None
) -> jax.Array:
    """Return how many values of a channel count, in all parts; int32."""
    if mask is None:
        n = jnp.asarray(x.size // max(x.shape[axis], 1), jnp.int32)
    else:
        n = mask.sum(dtype=jnp.int32)
    return n if parts is None else parts.added(n)


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

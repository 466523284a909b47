"""Sums and means of channels in jax.numpy, as accurate as the dtype allows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from jax import lax
from jax import numpy as jnp

if TYPE_CHECKING:
    from collections.abc import Sequence

    import jax

__all__ = ["per_channel", "reduced", "total"]

BLOCK: Final = 32
"""How many values are added in a chain. Where float64 is switched off, the sums of JAX are float32,
and XLA adds all values of a channel in one chain: its error grows like the square root of their
number. Of a tree of such blocks it is about 1 unit for each of its levels, of which a million
values have four."""


def reduced(ndim: int, axis: int) -> tuple[int, ...]:
    """Return all axes but the channels'."""
    return tuple(other for other in range(ndim) if other != axis)


def per_channel(values: jax.Array, ndim: int, axis: int) -> jax.Array:
    """Return values of shape (C,) in a shape that broadcasts over an array of ndim axes."""
    return values.reshape([-1 if other == axis else 1 for other in range(ndim)])


def total(values: jax.Array, axes: Sequence[int]) -> jax.Array:
    """Return the sums over the axes, each a tree of blocks."""
    for axis in sorted(axes, reverse=True):
        values = _along(values, axis)
    return values


def _along(values: jax.Array, axis: int) -> jax.Array:
    while values.shape[axis] > BLOCK:
        length = values.shape[axis]
        blocks = -(-length // BLOCK)
        padding = [(0, 0)] * values.ndim
        padding[axis] = (0, blocks * BLOCK - length)
        shape = (*values.shape[:axis], blocks, BLOCK, *values.shape[axis + 1 :])
        values = _apart(jnp.pad(values, padding).reshape(shape).sum(axis + 1))
    return _apart(values.sum(axis))


def _apart(values: jax.Array) -> jax.Array:
    """Keep XLA from making one chain of two sums."""
    return lax.optimization_barrier(values)

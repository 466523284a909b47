"""What `backnorm.keras` computes on JAX: the law of Keras by `batch_norm`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jax import numpy as jnp

from backnorm.jax.engine.functional import batch_norm

if TYPE_CHECKING:
    from collections.abc import Hashable

    import jax

    from backnorm.jax.engine.result import NormalizedBatch

__all__ = ["evaluated", "leaves", "trained"]


def leaves(x: jax.Array, axis: int, *, spread: object) -> bool:
    """Whether Keras computes this; it never does."""
    del x, axis, spread
    return False


def evaluated(
    x: jax.Array,
    gamma: jax.Array | None,
    beta: jax.Array | None,
    mean: jax.Array,
    var: jax.Array,
    *,
    axis: int,
    eps: float,
) -> jax.Array:
    """Return y by the running statistics."""
    return batch_norm(x, gamma, beta, axis=axis, eps=eps, mean=mean, var=var).y


def trained(
    x: jax.Array,
    gamma: jax.Array | None,
    beta: jax.Array | None,
    *,
    axis: int,
    eps: float,
    mask: jax.Array | None,
    spread: Hashable | None,
    layer: object,
) -> tuple[jax.Array, NormalizedBatch]:
    """Return y by the statistics of the batch, and these; spread is the name of a mapped axis.

    As in Keras, a mask says which positions enter the statistics, and y is normalized everywhere.
    """
    del layer
    batch = batch_norm(x, gamma, beta, axis=axis, eps=eps, mask=mask, axis_name=spread)
    if mask is None:
        return batch.y, batch
    elsewhere = batch_norm(x, gamma, beta, axis=axis, eps=eps, mean=batch.mean, var=batch.var).y
    return jnp.where(jnp.expand_dims(mask, axis), batch.y, elsewhere), batch

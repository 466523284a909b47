"""Parts of a batch: where they are, and how many of their values count."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import jax
from jax import lax
from jax import numpy as jnp

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence

__all__ = ["Parts", "count"]


@dataclass(frozen=True, slots=True)
class Parts:
    """Where the other parts of the batch are: as the arguments of `jax.lax.psum`."""

    axis_name: Hashable
    axis_index_groups: Sequence[Sequence[int]] | None

    @property
    def names(self) -> frozenset[Hashable]:
        """The names of the mapped axes."""
        if isinstance(self.axis_name, tuple | list):
            return frozenset(self.axis_name)
        return frozenset((self.axis_name,))

    def are_of_devices(self) -> bool:
        """Whether each of them is one device's within `jax.shard_map`, and none is of vmap."""
        return self.names <= set(jax.sharding.get_abstract_mesh().manual_axes)

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

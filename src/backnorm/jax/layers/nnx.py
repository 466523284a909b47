"""The batch normalization of flax.nnx."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import jax
from flax import nnx
from flax.nnx.nn.dtypes import canonicalize_dtype
from jax import numpy as jnp

from backnorm.jax.layers._call import (
    LayerOptions,
    by_batch,
    by_statistics,
    feature_axes,
    floating,
    moved_towards,
)

if TYPE_CHECKING:
    from jax.typing import ArrayLike

__all__ = ["BatchNorm"]


class BatchNorm(nnx.BatchNorm):  # type: ignore[misc] # Flax is not there where mypy runs
    """`flax.nnx.BatchNorm`, computed by the engine.

    Arguments, variables and running law are those of the original. Differences: sums are never
    E[x^2] - E[x]^2 (`use_fast_variance` has no effect). With a mask and an `axis_name` values have
    one weight, not shards; a channel of which nothing counts keeps its running statistics, and has
    y = 0.

    Raises
    ------
    DtypeError
        Complex numbers, and other dtypes that the engine does not compute.
    ShapeError
        A batch without values.

    Examples
    --------
    >>> from flax import nnx as flax_nnx
    >>> from jax import numpy as jnp
    >>> from backnorm.jax.layers import nnx
    >>> layer = nnx.BatchNorm(1, epsilon=0.0, momentum=0.5, rngs=flax_nnx.Rngs(0))
    >>> layer(jnp.array([[1.0], [3.0]])).ravel().tolist()
    [-1.0, 1.0]
    >>> layer.mean[...].tolist(), layer.var[...].tolist()
    ([1.0], [1.0])
    """

    def __call__(
        self,
        x: ArrayLike,
        use_running_average: bool | None = None,
        *,
        mask: ArrayLike | None = None,
    ) -> jax.Array:
        """Normalize x; as the original."""
        own = self.use_running_average
        if own is None and use_running_average is None:
            return super().__call__(x)  # which says what is missing
        frozen = own if use_running_average is None else use_running_average
        given = (jnp.asarray(x), *map(_read, (self.mean, self.var, self.scale, self.bias)))
        # Older versions of Flax do not promote.
        if hasattr(self, "promote_dtype"):
            given = self.promote_dtype(given, dtype=self.dtype)
        x, mean, var, scale, bias = floating(given[0]), *given[1:]
        dtype = canonicalize_dtype(x, scale, bias, dtype=self.dtype)
        seen = jnp.promote_types(self.dtype or x.dtype, jnp.float32)
        x = x.astype(jnp.promote_types(x.dtype, dtype))
        features = feature_axes(x.ndim, self.axis)
        options = LayerOptions(features, self.epsilon, self.axis_name, self.axis_index_groups)
        if frozen:
            return by_statistics(options, x, scale, bias, mean, var).astype(dtype)
        batch = by_batch(options, x, scale, bias, mask)
        self._keep(batch.mean.astype(seen), batch.var.astype(seen), batch.n)
        return batch.y.astype(dtype)

    def _keep(self, mean: jax.Array, var: jax.Array, n: jax.Array) -> None:
        """Move the running statistics."""
        running = (self.mean, self.var)
        # The original does so too: references to arrays take no values that are differentiated.
        cut = any(getattr(variable, "_can_update", False) for variable in running)
        for variable, new in zip(running, (mean, var), strict=True):
            old = variable[...]
            moved = moved_towards(old, new, self.momentum, n).astype(old.dtype)
            variable[...] = jax.lax.stop_gradient(moved) if cut else moved


def _read(variable: Any) -> Any:
    return None if variable is None else variable[...]

"""The batch normalization of Equinox."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import equinox
import jax
from jax import numpy as jnp

from backnorm.jax.layers._call import LayerOptions, by_batch, by_statistics, floating

if TYPE_CHECKING:
    from jax.typing import ArrayLike

    from backnorm.jax.engine.result import NormalizedBatch

__all__ = ["BatchNorm"]


class BatchNorm(equinox.nn.BatchNorm):  # type: ignore[misc] # Equinox is not there where mypy runs
    """`equinox.nn.BatchNorm`, computed by the engine.

    Arguments, fields, states and running laws of both modes are those of the original. As the
    original it takes one sample, within the `jax.vmap` or `jax.pmap` that has its `axis_name`. The
    running statistics keep their dtype, whatever that of x is.

    Raises
    ------
    NameError
        In training, outside of a mapped axis of that name.
    DtypeError
        Complex numbers, and other dtypes that the engine does not compute.

    Examples
    --------
    >>> import equinox as eqx
    >>> import jax
    >>> from jax import numpy as jnp
    >>> from backnorm.jax.layers import equinox
    >>> make = eqx.nn.make_with_state(equinox.BatchNorm)
    >>> layer, state = make(1, axis_name="batch", mode="batch", eps=0.0)
    >>> over = jax.vmap(layer, axis_name="batch", in_axes=(0, None), out_axes=(0, None))
    >>> y, state = over(jnp.array([[1.0], [3.0]]), state)
    >>> y.ravel().tolist()
    [-1.0, 1.0]
    """

    def __call__(
        self,
        x: ArrayLike,
        state: equinox.nn.State,
        *,
        key: Any = None,
        inference: bool | None = None,
    ) -> tuple[jax.Array, equinox.nn.State]:
        """Normalize x, of shape (C, *S); as the original."""
        del key
        inference = self.inference if inference is None else inference
        call = self._in_mode_ema if self.mode == "ema" else self._in_mode_batch
        return call(floating(x), state, inference)

    def _in_mode_batch(
        self, x: jax.Array, state: equinox.nn.State, inference: bool
    ) -> tuple[jax.Array, equinox.nn.State]:
        """Normalize by the batch; averages start at 0, and the counter says how full they are."""
        count, hidden = state.get(self.batch_counter), state.get(self.batch_state_index)
        if inference:
            full = jnp.where(count == 0, 1, 1 - self.momentum**count)
            return self._by_statistics(x, *(average / full for average in hidden)), state
        batch = self._by_batch(x)
        state = state.set(self.batch_counter, count + 1)
        state = state.set(self.batch_state_index, self._moved(hidden, batch))
        return batch.y, state

    def _in_mode_ema(
        self, x: jax.Array, state: equinox.nn.State, inference: bool
    ) -> tuple[jax.Array, equinox.nn.State]:
        """Normalize by running statistics that have taken up the batch: the first one whole."""
        running = state.get(self.ema_state_index)
        if inference:
            return self._by_statistics(x, *running), state
        first = state.get(self.ema_first_time_index)
        batch = self._by_batch(x)
        seen = (batch.mean, batch.var)
        running = tuple(
            jnp.where(first, new.astype(moved.dtype), moved)
            for new, moved in zip(seen, self._moved(running, batch), strict=True)
        )
        # Not a new array, which within shard_map would not be of the mesh: Equinox refuses it.
        state = state.set(self.ema_first_time_index, first & False)
        state = state.set(self.ema_state_index, running)
        return self._by_statistics(x, *running), state

    def _by_batch(self, x: jax.Array) -> NormalizedBatch:
        name = tuple(self.axis_name) if isinstance(self.axis_name, list) else self.axis_name
        options = LayerOptions((0,), self.eps, name)
        return by_batch(options, self._widened(x), self.weight, self.bias)

    def _by_statistics(self, x: jax.Array, mean: jax.Array, var: jax.Array) -> jax.Array:
        options = LayerOptions((0,), self.eps)
        return by_statistics(options, self._widened(x, mean), self.weight, self.bias, mean, var)

    def _widened(self, x: jax.Array, *more: jax.Array) -> jax.Array:
        """Return x in the dtype of the original's output."""
        parameters = [value for value in (self.weight, self.bias) if value is not None]
        return x.astype(jnp.result_type(x, *parameters, *more))

    def _moved(
        self, running: tuple[jax.Array, jax.Array], batch: NormalizedBatch
    ) -> tuple[jax.Array, ...]:
        keep, pairs = self.momentum, zip(running, (batch.mean, batch.var), strict=True)
        return tuple((keep * old + (1 - keep) * new).astype(old.dtype) for old, new in pairs)

"""What layers ask of the engine: features along several axes, and masks of any shape."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import jax
from jax import numpy as jnp

from backnorm.jax.engine.functional import batch_norm

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence

    from backnorm.jax.engine.result import NormalizedBatch

__all__ = ["LayerOptions", "by_batch", "by_statistics", "feature_axes", "floating", "moved_towards"]


@dataclass(frozen=True, slots=True)
class LayerOptions:
    """What calls of a layer have in common.

    Attributes
    ----------
    features
        The axes of x that are not reduced, counted from 0: together they are the channels.
    eps
        As in `batch_norm`.
    axis_name, axis_index_groups
        The mapped axes over which the batch is spread, as in `batch_norm`.
    """

    features: tuple[int, ...]
    eps: Any
    axis_name: Hashable | None = None
    axis_index_groups: Sequence[Sequence[int]] | None = None


def feature_axes(ndim: int, axes: int | Iterable[int]) -> tuple[int, ...]:
    """Return axes counted from 0, each once, in their order in the array."""
    given = axes if isinstance(axes, Iterable) else (axes,)
    return tuple(sorted({axis + ndim if axis < 0 else axis for axis in given}))


def floating(x: Any) -> jax.Array:
    """Return x as an array of JAX; integers as float32."""
    array = jnp.asarray(x)
    inexact = jnp.issubdtype(array.dtype, jnp.inexact)
    return array if inexact else array.astype(jnp.float32)


def by_statistics(
    options: LayerOptions, x: jax.Array, scale: Any, bias: Any, mean: Any, var: Any
) -> jax.Array:
    """Return y of statistics that are given: arrays with a value for each feature."""
    joined, axis = _joined(x, options.features)
    given = (_flat(scale), _flat(bias))
    mean, var = _flat(mean), _flat(var)
    y = batch_norm(joined, *given, axis=axis, eps=options.eps, mean=mean, var=var).y
    return _apart(y, x.shape, options.features)


def by_batch(
    options: LayerOptions, x: jax.Array, scale: Any, bias: Any, mask: Any = None
) -> NormalizedBatch:
    """Return y and the statistics of the batch, which have shape (C,).

    A mask broadcasts to x, as in the originals, and says what counts. Positions that do not count
    are normalized too. Where nothing counts at all y is 0.
    """
    joined, axis = _joined(x, options.features)
    parameters = (_flat(scale), _flat(bias))
    if mask is None:
        batch = _of_batch(options, joined, *parameters, axis)
    elif _is_for_all_channels(mask, x, options.features):
        others = [axis for axis in range(x.ndim) if axis not in options.features]
        alike = _with_axes(mask, x.ndim).max(options.features)
        counts = jnp.broadcast_to(alike, [x.shape[axis] for axis in others])
        batch = _masked(options, joined, *parameters, counts, axis)
    else:
        whole = jnp.broadcast_to(_with_axes(mask, x.ndim), x.shape)
        batch = _each_channel(
            options, joined, *parameters, _joined(whole, options.features)[0], axis
        )
    return replace(batch, y=_apart(batch.y, x.shape, options.features))


def moved_towards(old: jax.Array, new: jax.Array, keep: Any, n: jax.Array) -> jax.Array:
    """Return keep*old + (1 - keep)*new, or old where n is 0: nothing was seen of a channel."""
    moved = keep * old + (1 - keep) * new.reshape(old.shape)
    return jnp.where(n.reshape(old.shape if n.ndim else ()) > 0, moved, old)


def _of_batch(
    options: LayerOptions, x: jax.Array, scale: Any, bias: Any, axis: int, mask: Any = None
) -> NormalizedBatch:
    return batch_norm(
        x,
        scale,
        bias,
        axis=axis,
        eps=options.eps,
        mask=mask,
        axis_name=options.axis_name,
        axis_index_groups=options.axis_index_groups,
    )


def _masked(
    options: LayerOptions, x: jax.Array, scale: Any, bias: Any, counts: jax.Array, axis: int
) -> NormalizedBatch:
    batch = _of_batch(options, x, scale, bias, axis, counts)
    counted, finite = jnp.expand_dims(counts, axis), jnp.isfinite(x)
    # A product of NaN with a gradient of 0 is NaN: what is not finite must not meet the parameters.
    other = jnp.where(finite & ~counted, x, 0)
    elsewhere = batch_norm(
        other, scale, bias, axis=axis, eps=options.eps, mean=batch.mean, var=batch.var
    ).y
    y = jnp.where(counted, batch.y, jnp.where(finite, elsewhere, x))
    return replace(batch, y=jnp.where(batch.n > 0, y, 0))


def _each_channel(
    options: LayerOptions, x: jax.Array, scale: Any, bias: Any, counts: jax.Array, axis: int
) -> NormalizedBatch:
    """Return what `_masked` gives of each channel by itself, with its own mask."""

    def one(x: jax.Array, scale: Any, bias: Any, counts: jax.Array) -> NormalizedBatch:
        return _masked(options, x[..., None], _flat(scale), _flat(bias), counts, x.ndim)

    batch: NormalizedBatch = jax.vmap(one, (axis, 0, 0, axis))(x, scale, bias, counts)
    statistics = {name: getattr(batch, name)[:, 0] for name in ("mean", "var", "inv_std")}
    return replace(batch, y=jnp.moveaxis(batch.y[..., 0], 0, axis), **statistics)


def _with_axes(mask: Any, ndim: int) -> jax.Array:
    mask = jnp.asarray(mask, bool)
    return mask.reshape((1,) * (ndim - mask.ndim) + mask.shape)


def _is_for_all_channels(mask: Any, x: jax.Array, features: tuple[int, ...]) -> bool:
    shape = _with_axes(mask, x.ndim).shape
    return all(shape[axis] == 1 for axis in features)


def _flat(values: Any) -> jax.Array | None:
    return None if values is None else jnp.asarray(values).reshape(-1)


def _joined(x: jax.Array, features: tuple[int, ...]) -> tuple[jax.Array, int]:
    """Return x with one axis of channels, and that axis."""
    if len(features) == 1:
        return x, features[0]
    others = [axis for axis in range(x.ndim) if axis not in features]
    channels = math.prod(x.shape[axis] for axis in features)
    shape = [x.shape[axis] for axis in others]
    return x.transpose(*others, *features).reshape(*shape, channels), len(others)


def _apart(y: jax.Array, shape: tuple[int, ...], features: tuple[int, ...]) -> jax.Array:
    """Undo `_joined`."""
    if len(features) == 1:
        return y
    order = [*(axis for axis in range(len(shape)) if axis not in features), *features]
    back = [order.index(axis) for axis in range(len(shape))]
    return y.reshape([shape[axis] for axis in order]).transpose(*back)

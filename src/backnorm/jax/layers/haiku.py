"""The batch normalization of Haiku."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import haiku
import jax
from jax import numpy as jnp

from backnorm.jax.layers._call import (
    LayerOptions,
    by_batch,
    by_statistics,
    feature_axes,
    floating,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from jax.typing import ArrayLike

__all__ = ["BatchNorm", "interceptor"]


class BatchNorm(haiku.BatchNorm):  # type: ignore[misc] # Haiku is not there where mypy runs
    """`haiku.BatchNorm`, computed by the engine.

    Arguments, parameters, states and names are those of the original. Differences: sums are never
    E[x^2] - E[x]^2, and in evaluation the averages are not rounded to the dtype of x.

    Raises
    ------
    ValueError
        A scale or an offset that is passed and created too, as by the original.
    DtypeError
        Complex numbers, and other dtypes that the engine does not compute.
    ShapeError
        A batch without values.

    Examples
    --------
    >>> import haiku as hk
    >>> from jax import numpy as jnp
    >>> from backnorm.jax.layers import haiku
    >>> def run(x):
    ...     layer = haiku.BatchNorm(True, True, decay_rate=0.9, eps=0.0)
    ...     return layer(x, is_training=True)
    >>> both = hk.transform_with_state(run)
    >>> params, state = both.init(None, jnp.array([[1.0], [3.0]]))
    >>> y, state = both.apply(params, state, None, jnp.array([[1.0], [3.0]]))
    >>> y.ravel().tolist()
    [-1.0, 1.0]
    """

    def __call__(
        self,
        inputs: ArrayLike,
        is_training: bool,
        test_local_stats: bool = False,
        scale: ArrayLike | None = None,
        offset: ArrayLike | None = None,
    ) -> jax.Array:
        """Normalize the inputs; as the original."""
        y = _called(self, inputs, is_training, test_local_stats, scale, offset)
        if y is None:
            y = super().__call__(inputs, is_training, test_local_stats, scale, offset)
        return y


def interceptor(
    next_function: Callable[..., Any],
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    context: Any,
) -> Any:
    """Compute each `haiku.BatchNorm` by the engine, within `haiku.intercept_methods`.

    For models that build their layers themselves. Subclasses are left alone.

    Parameters
    ----------
    next_function, args, kwargs, context
        As `haiku.intercept_methods` passes them.

    Returns
    -------
    Any
        What the method returns.

    Examples
    --------
    >>> import haiku as hk
    >>> from jax import numpy as jnp
    >>> from backnorm.jax.layers import haiku
    >>> both = hk.transform_with_state(lambda x: hk.BatchNorm(True, True, 0.9)(x, True))
    >>> with hk.intercept_methods(haiku.interceptor):
    ...     params, state = both.init(None, jnp.ones((4, 2)))
    >>> sorted(state)
    ['batch_norm/~/mean_ema', 'batch_norm/~/var_ema']
    """
    if type(context.module) is haiku.BatchNorm and context.method_name == "__call__":
        y = _called(context.module, *args, **kwargs)
        if y is not None:
            return y
    return next_function(*args, **kwargs)


def _called(
    module: haiku.BatchNorm,
    inputs: ArrayLike,
    is_training: bool,
    test_local_stats: bool = False,
    scale: ArrayLike | None = None,
    offset: ArrayLike | None = None,
) -> jax.Array | None:
    """Return y, or None if the original has to say what is wrong with the call."""
    twice_scaled = module.create_scale and scale is not None
    if twice_scaled or (module.create_offset and offset is not None):
        return None
    x = floating(inputs)
    dtype = x.dtype
    scale, offset = _parameters(module, inputs, x, scale, offset)
    given = [value for value in (scale, offset) if value is not None]
    x = x.astype(jnp.result_type(x, *given))
    options = _options(module, x.ndim)
    inside = [_per_feature(value, x, options.features) for value in (scale, offset)]
    # A parameter with a value for each position, as of conditional normalization, comes after it.
    behind = len(given) > sum(value is not None for value in inside)
    if behind:
        inside = [None, None]
    if is_training or test_local_stats:
        batch = by_batch(options, x, *inside)
        y = batch.y
        if is_training:
            shape = [x.shape[axis] if axis in options.features else 1 for axis in range(x.ndim)]
            module.mean_ema(batch.mean.reshape(shape).astype(dtype))
            module.var_ema(batch.var.reshape(shape).astype(dtype))
    else:
        averages = (module.mean_ema.average, module.var_ema.average)
        y = by_statistics(options, x, inside[0], inside[1], *averages)
    if behind:
        y = y if scale is None else y * scale
        y = y if offset is None else y + offset
    return y


def _reduced(module: haiku.BatchNorm, ndim: int) -> Sequence[int]:
    """Return the axes that are reduced, as they are written."""
    if module.axis is not None:
        reduced: Sequence[int] = module.axis
        return reduced
    channel = module.channel_index + ndim * (module.channel_index < 0)
    return [axis for axis in range(ndim) if axis != channel]


def _options(module: haiku.BatchNorm, ndim: int) -> LayerOptions:
    reduced = feature_axes(ndim, _reduced(module, ndim))
    features = tuple(axis for axis in range(ndim) if axis not in reduced)
    name = module.cross_replica_axis or None
    groups = module.cross_replica_axis_index_groups
    return LayerOptions(
        features, module.eps, tuple(name) if isinstance(name, list) else name, groups
    )


def _parameters(
    module: haiku.BatchNorm, inputs: Any, x: jax.Array, scale: Any, offset: Any
) -> tuple[Any, Any]:
    """Return scale and offset: those of the module in the shapes of the original, or as passed."""
    reduced = _reduced(module, x.ndim)
    shape = [1 if axis in reduced else x.shape[axis] for axis in range(x.ndim)]
    dtype = getattr(inputs, "dtype", x.dtype)
    if module.create_scale:
        scale = haiku.get_parameter("scale", shape, dtype, module.scale_init)
    if module.create_offset:
        offset = haiku.get_parameter("offset", shape, dtype, module.offset_init)
    scale, offset = (None if value is None else jnp.asarray(value) for value in (scale, offset))
    return scale, offset


def _per_feature(
    value: jax.Array | None, x: jax.Array, features: tuple[int, ...]
) -> jax.Array | None:
    """Return a value for each feature, or None where one is for a position or is missing."""
    if value is None or value.ndim > x.ndim:
        return None
    shape = (1,) * (x.ndim - value.ndim) + value.shape
    if any(length != 1 for axis, length in enumerate(shape) if axis not in features):
        return None
    values = value.reshape([shape[axis] for axis in features])
    wide = jnp.promote_types(x.dtype, values.dtype)  # a parameter may have the dtype of integers
    return jnp.broadcast_to(values, [x.shape[axis] for axis in features]).astype(wide)

"""The batch normalization of flax.linen."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import jax
from flax import linen
from flax.linen.dtypes import canonicalize_dtype
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
    from collections.abc import Callable, Mapping, Sequence

    from jax.typing import ArrayLike

__all__ = ["BatchNorm", "interceptor"]


class BatchNorm(linen.BatchNorm):  # type: ignore[misc] # Flax is not there where mypy runs
    """`flax.linen.BatchNorm`, computed by the engine.

    Arguments, collections, names and running law are those of the original. Differences: sums are
    never E[x^2] - E[x]^2 (`use_fast_variance` has no effect), and with `force_float32_reductions`
    off they are taken in float32 all the same. With a mask and an `axis_name` values have one
    weight, not shards; a channel of which nothing counts keeps its running statistics, and has
    y = 0.

    Raises
    ------
    DtypeError
        Complex numbers, and other dtypes that the engine does not compute.
    ShapeError
        A batch without values.

    Examples
    --------
    >>> import jax
    >>> from jax import numpy as jnp
    >>> from backnorm.jax.layers import linen
    >>> layer = linen.BatchNorm(use_running_average=False, epsilon=0.0)
    >>> x = jnp.array([[1.0], [3.0]])
    >>> variables = layer.init(jax.random.key(0), x)
    >>> y, changed = layer.apply(variables, x, mutable=["batch_stats"])
    >>> y.ravel().tolist()
    [-1.0, 1.0]
    """

    @linen.compact  # type: ignore[untyped-decorator] # the same
    def __call__(
        self,
        x: ArrayLike,
        use_running_average: bool | None = None,
        *,
        mask: ArrayLike | None = None,
    ) -> jax.Array:
        """Normalize x; as the original."""
        return _called(self, x, use_running_average, mask=mask)


def interceptor(
    next_function: Callable[..., Any],
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    context: Any,
) -> Any:
    """Compute each `flax.linen.BatchNorm` by the engine, within `flax.linen.intercept_methods`.

    For models that build their layers themselves. Subclasses are left alone.

    Parameters
    ----------
    next_function, args, kwargs, context
        As `flax.linen.intercept_methods` passes them.

    Returns
    -------
    Any
        What the method returns.

    Examples
    --------
    >>> import jax
    >>> from flax import linen as nn
    >>> from jax import numpy as jnp
    >>> from backnorm.jax.layers import linen
    >>> model = nn.Sequential([nn.Dense(3), nn.BatchNorm(use_running_average=False)])
    >>> x = jnp.ones((4, 2))
    >>> with nn.intercept_methods(linen.interceptor):
    ...     variables = model.init(jax.random.key(0), x)
    >>> sorted(variables)
    ['batch_stats', 'params']
    """
    if type(context.module) is linen.BatchNorm and context.method_name == "__call__":
        return _called(context.module, *args, **kwargs)
    return next_function(*args, **kwargs)


def _called(
    module: linen.BatchNorm,
    x: ArrayLike,
    use_running_average: bool | None = None,
    *,
    mask: ArrayLike | None = None,
) -> jax.Array:
    """Return y, within a compact method of the module; its running statistics move."""
    own = module.use_running_average
    frozen = linen.merge_param("use_running_average", own, use_running_average)
    x = floating(x)
    features = feature_axes(x.ndim, module.axis)
    shape = [x.shape[axis] for axis in features]
    kept = jnp.float32 if module.force_float32_reductions else module.param_dtype
    mean = module.variable("batch_stats", "mean", jnp.zeros, shape, kept)
    var = module.variable("batch_stats", "var", jnp.ones, shape, kept)
    scale = bias = None
    if module.use_scale:
        scale = module.param("scale", module.scale_init, shape, module.param_dtype)
    if module.use_bias:
        bias = module.param("bias", module.bias_init, shape, module.param_dtype)
    dtype = canonicalize_dtype(x, scale, bias, dtype=module.dtype)
    seen = module.dtype or x.dtype
    if module.force_float32_reductions:
        seen = jnp.promote_types(seen, jnp.float32)
    x = x.astype(jnp.promote_types(x.dtype, dtype))
    spread = (None if module.is_initializing() else module.axis_name, module.axis_index_groups)
    options = LayerOptions(features, module.epsilon, *spread)
    if frozen:
        return by_statistics(options, x, scale, bias, mean.value, var.value).astype(dtype)
    batch = by_batch(options, x, scale, bias, mask)
    if not module.is_initializing():
        for running, new in ((mean, batch.mean), (var, batch.var)):
            new = new.astype(seen)  # noqa: PLW2901 - the dtype of the original
            running.value = moved_towards(running.value, new, module.momentum, batch.n)
    return batch.y.astype(dtype)

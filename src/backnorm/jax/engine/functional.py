"""The public function: check, take the statistics where the primitive does not, call, wrap."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import jax
from jax import lax
from jax import numpy as jnp

from backnorm import _check
from backnorm.errors import NotInstalledError, RangeError
from backnorm.jax.engine import arguments, batching, handlers, lowering
from backnorm.jax.engine.formula import ChannelStatistics, inverse_deviation
from backnorm.jax.engine.moments import batch_moments
from backnorm.jax.engine.options import PrimitiveOptions
from backnorm.jax.engine.parts import Parts, count
from backnorm.jax.engine.primitives import FORWARD
from backnorm.jax.engine.result import NormalizedBatch
from backnorm.kernels import activations

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence
    from typing import SupportsIndex

    from jax.typing import ArrayLike

    from backnorm._types import Activation, SumLaw, Through

__all__ = ["batch_norm"]

batching.register()
lowering.register(handlers.HANDLERS)


def batch_norm(
    x: ArrayLike,
    scale: ArrayLike | None = None,
    bias: ArrayLike | None = None,
    *,
    axis: SupportsIndex = -1,
    eps: float = 1e-5,
    mean: ArrayLike | None = None,
    var: ArrayLike | None = None,
    activation: Activation = "identity",
    negative_slope: float = 0.01,
    residual: ArrayLike | None = None,
    mask: ArrayLike | None = None,
    axis_name: Hashable | None = None,
    axis_index_groups: Sequence[Sequence[int]] | None = None,
    through: Through = "both",
    sums: SumLaw = "float64",
) -> NormalizedBatch:
    """Normalize each channel of x over all other axes: y = act(scale*x_hat + bias + residual).

    With x_hat = (x - mean)*inv_std and inv_std = 1/sqrt(var + eps); mean and biased variance are
    those of x unless they are given. It can be compiled, differentiated to any order in both modes,
    mapped by vmap and sharded.

    Parameters
    ----------
    x
        Input, any shape with channels along axis, for example (N, H, W, C); float16, bfloat16,
        float32 or float64. [x]
    scale, bias
        Shape (C,), any of these dtypes; None stands for 1 and for 0. [scale]
    axis
        The axis that holds the channels: -1 for (N, ..., C), 1 for (N, C, ...).
    eps
        Added to the variance, inside the root; a number, or traced. [x]^2
    mean, var
        Statistics, shape (C,), in place of those of x; both or neither. The gradient goes to them
        as to any argument. [x], [x]^2
    activation
        Applied last, for example "relu"; `backnorm.kernels.activations.NAMES` are all of them.
    negative_slope
        Slope of leaky_relu below 0.
    residual
        Added before the activation; shape and dtype of x. [scale]
    mask
        Which positions count: bool, shape of x without its channels. y and the gradients are 0
        elsewhere, whatever x holds there.
    axis_name
        Name of the mapped axes of vmap, shard_map or pmap over which the batch is spread, as for
        `jax.lax.psum`: the statistics are those of all parts, weighted by how many values count.
    axis_index_groups
        The groups of parts whose statistics are taken together, as for `jax.lax.psum`.
    through
        Through which statistics the gradient goes: the others are constants, as by
        `jax.lax.stop_gradient`. The returned statistics are those of x in any case.
    sums
        "float64", or "exact" as in `backnorm.batch_norm`: for the kernels, on arrays of one CPU or
        on parts within `jax.shard_map`, which then have the bits of one call on the whole batch.

    Returns
    -------
    NormalizedBatch
        y, the statistics, and the number of values: a pytree.

    Raises
    ------
    ShapeError
        Shapes that do not fit; or channels without values, unless statistics are given.
    DtypeError
        A dtype that is not supported.
    RangeError
        An eps, axis or slope out of range; exact sums with a traced eps, an axis_name outside
        `jax.shard_map`, axis_index_groups, a scale that differs between the devices, float64 and a
        mask or an axis_name, a mask and through="variance", or an array that is not on CPUs.
    UnknownNameError
        An unknown activation, law of sums or statistic.
    NotInstalledError
        Exact sums where the kernels for JAX were not built.

    Notes
    -----
    Source: Ioffe and Szegedy 2015, Algorithm 1; docs/mathematics.md.
    Accuracy: on the CPU, with the kernels, that of `backnorm.batch_norm`, and its bits. In
    jax.numpy 3 units in the last place of the channel's largest value for abs(mean)/std up to 1e6
    (tests/with_frameworks/jax/test_accuracy.py).
    Cost: with the kernels one read of x and one write of y. A mask and an axis_name take the
    statistics in jax.numpy, in three passes over x.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from backnorm.jax import batch_norm
    >>> batch = batch_norm(jnp.array([[1.0], [3.0]]), eps=0.0)
    >>> batch.y.ravel().tolist()
    [-1.0, 1.0]
    >>> float(batch.mean[0]), float(batch.var[0]), int(batch.n)
    (2.0, 1.0, 2)
    """
    x = arguments.array("x", x)
    given = mean is not None or var is not None
    axis = arguments.axis_of(x, axis, allow_empty=given)
    statistics = arguments.frozen(mean, var, x, axis)
    operands = [x, *_parameters(x, scale, bias, axis)]
    if residual is not None:
        operands.append(arguments.like("residual", residual, x))
    counts = None if mask is None else arguments.mask_of(mask, x, axis)
    parts = None if axis_name is None or given else Parts(axis_name, axis_index_groups)
    eps = arguments.eps_of(eps)
    traced = isinstance(eps, jax.Array)
    _check.name_of("activation", activation, activations.NAMES)
    _check.name_of("through", through, _check.THROUGHS)
    _check.name_of("sums", sums, _check.SUMS)
    exact = sums == "exact"
    counted = exact and not given and (mask is not None or parts is not None)
    if exact:
        _check_exact(x, eps, parts, through, masked=counted and mask is not None)
    whole = not given and not traced and (exact or (mask is None and parts is None))
    options = PrimitiveOptions(
        axis=axis,
        eps=0.0 if traced else eps,
        activation=activation,
        negative_slope=_check.slope(negative_slope),
        through_mean=whole and through in {"both", "mean"},
        through_variance=whole and through in {"both", "variance"},
        frozen=not whole,
        has_residual=residual is not None,
        exact=exact,
    )
    if counts is not None:
        # What does not count may be infinite or NaN, and must not meet the statistics.
        operands[0] = jnp.where(jnp.expand_dims(counts, axis), x, 0)
    n = count(x, axis, counts, parts)
    if whole:
        y, means, variances, inv_std = _of_batch(operands, n if counted else None, parts, options)
    else:
        if statistics is None:
            taken = batch_moments(operands[0], axis, operands[1].dtype, n, counts, parts)
        else:
            taken = _as_given(*statistics, operands[1].dtype)
        y = _normalized(operands, taken, eps, through, options)
        means, variances, inv_std = taken.mean, taken.var, inverse_deviation(taken.var, eps)
    if counts is not None:
        y = jnp.where(jnp.expand_dims(counts, axis), y, 0)
    return NormalizedBatch(y, means, variances, inv_std, n)


def _parameters(
    x: jax.Array, scale: ArrayLike | None, bias: ArrayLike | None, axis: int
) -> tuple[jax.Array, jax.Array]:
    """Return both parameters in the dtype of the statistics: float64 if an array has it."""
    given = [
        arguments.per_channel(name, value, x, axis)
        for name, value in (("scale", scale), ("bias", bias))
        if value is not None
    ]
    wide = jnp.result_type(jnp.float32, x.dtype, *(value.dtype for value in given))
    shape = (x.shape[axis],)
    return (
        jnp.ones(shape, wide) if scale is None else given[0].astype(wide),
        jnp.zeros(shape, wide) if bias is None else given[-1].astype(wide),
    )


def _of_batch(
    operands: list[jax.Array], n: jax.Array | None, parts: Parts | None, options: PrimitiveOptions
) -> tuple[jax.Array, ...]:
    """Return y, mean, var and inv_std where the primitive takes the statistics; n if it is told."""
    if n is None:
        aligned = arguments.aligned(*operands)
    else:
        counts = jnp.broadcast_to(n, operands[1].shape)
        aligned, shared = arguments.aligned_parts(operands, counts, parts)
        options = replace(options, counted=True, parts=parts, shared=shared)
    y, mean, _, var, inv_std, _ = FORWARD.bind(*aligned, options=options)
    return y, mean, var, inv_std


def _as_given(mean: jax.Array, var: jax.Array, wide: jnp.dtype) -> ChannelStatistics:
    return ChannelStatistics(mean.astype(wide), jnp.zeros(mean.shape, wide), var.astype(wide))


def _normalized(
    operands: list[jax.Array],
    statistics: ChannelStatistics,
    eps: float | jax.Array,
    through: Through,
    options: PrimitiveOptions,
) -> jax.Array:
    """Return y of statistics that are at hand; the gradient goes to them, and on to x."""
    mean, low, var = statistics.mean, statistics.low, statistics.var
    if through in {"variance", "none"}:
        mean, low = lax.stop_gradient((mean, low))
    if through in {"mean", "none"}:
        var = lax.stop_gradient(var)
    # An eps that is traced is no parameter of the primitive, whose own is 0 then.
    used_var = var + (eps if isinstance(eps, jax.Array) else 0)
    aligned = arguments.aligned(*operands, mean, low, used_var)
    y: jax.Array = FORWARD.bind(*aligned, options=options)[0]
    return y


def _check_exact(
    x: jax.Array, eps: float | jax.Array, parts: Parts | None, through: Through, *, masked: bool
) -> None:
    """Raise unless the kernels can take the exact sums."""
    counted = masked or parts is not None
    reasons = {
        "a traced eps": isinstance(eps, jax.Array),
        "axis_index_groups": parts is not None and parts.axis_index_groups is not None,
        "an axis_name outside jax.shard_map": parts is not None and not parts.are_of_devices(),
        "float64 and a mask or an axis_name": counted and x.dtype == jnp.float64,
        'a mask and through="variance"': masked and through == "variance",
    }
    for reason, holds in reasons.items():
        if holds:
            raise RangeError.exact_in_parts(reason)
    if not handlers.has_kernels():
        raise NotInstalledError.native_kernel()

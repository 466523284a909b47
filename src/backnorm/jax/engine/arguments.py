"""All argument checks of `batch_norm`: each returns the argument in its usual form."""

from __future__ import annotations

import math
import operator
from typing import TYPE_CHECKING, Any, Final, SupportsIndex

import jax
from jax import numpy as jnp

from backnorm import _check
from backnorm.errors import DtypeError, RangeError, ShapeError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jax.typing import ArrayLike

    from backnorm.jax.engine.parts import Parts

__all__ = [
    "aligned",
    "aligned_parts",
    "array",
    "axis_of",
    "eps_of",
    "frozen",
    "like",
    "mask_of",
    "per_channel",
]

OTHER_SCALES: Final = "a scale that differs between the devices"


def array(name: str, value: ArrayLike) -> jax.Array:
    """Return value as an array of JAX with one of the engine's dtypes."""
    checked = jnp.asarray(value)
    if checked.dtype.name not in _check.DTYPES:
        raise DtypeError.unsupported(name, checked.dtype, _check.DTYPES)
    return checked


def like(name: str, value: ArrayLike, x: jax.Array) -> jax.Array:
    """Return value if it has the shape and the dtype of x."""
    checked = array(name, value)
    if checked.shape != x.shape:
        raise ShapeError.same_as(name, checked.shape, "x", x.shape)
    if checked.dtype != x.dtype:
        raise DtypeError.same_as(name, checked.dtype, "x", x.dtype)
    return checked


def axis_of(x: jax.Array, axis: SupportsIndex, *, allow_empty: bool) -> int:
    """Return axis counted from 0, once x has values to reduce over."""
    if x.ndim == 0:
        raise ShapeError.axes("x", x.shape)
    try:
        index: int = operator.index(axis)
    except TypeError:
        raise RangeError.channel_axis(axis, x.ndim, argument="axis") from None
    if not -x.ndim <= index < x.ndim:
        raise RangeError.channel_axis(axis, x.ndim, argument="axis")
    index %= x.ndim
    others = x.shape[:index] + x.shape[index + 1 :]
    if not allow_empty and math.prod(others) == 0:
        raise ShapeError.empty(x.shape, index, argument="axis", frozen="mean and var")
    return index


def per_channel(name: str, value: ArrayLike, x: jax.Array, axis: int) -> jax.Array:
    """Return value if it has shape (C,)."""
    checked = array(name, value)
    if checked.shape != (x.shape[axis],):
        raise ShapeError.per_channel(name, checked.shape, x.shape[axis], axis, argument="axis")
    return checked


def frozen(
    mean: ArrayLike | None, var: ArrayLike | None, x: jax.Array, axis: int
) -> tuple[jax.Array, jax.Array] | None:
    """Return frozen statistics, or None if the batch's own are used."""
    if mean is None and var is None:
        return None
    if mean is None:
        raise RangeError.running_pair("mean", "var")
    if var is None:
        raise RangeError.running_pair("var", "mean")
    return per_channel("mean", mean, x, axis), per_channel("var", var, x, axis)


def mask_of(value: ArrayLike, x: jax.Array, axis: int) -> jax.Array:
    """Return value if it is bool, and has the shape of x without its channels."""
    checked = jnp.asarray(value)
    if checked.dtype != jnp.bool_:
        raise DtypeError.not_a_mask(checked.dtype)
    want = x.shape[:axis] + x.shape[axis + 1 :]
    if checked.shape != want:
        raise ShapeError.mask(checked.shape, want, x.shape)
    return checked


def eps_of(value: ArrayLike) -> float | jax.Array:
    """Return eps as a float, or as it is where a transformation traces it."""
    return value if isinstance(value, jax.core.Tracer) else _check.eps(value)


def aligned(*arrays: jax.Array) -> list[jax.Array]:
    """Mark all arrays as different on the devices on which one is, within `jax.shard_map`."""
    every = _varying_any(arrays)
    return [_as_varying(array_, every) for array_ in arrays]


def aligned_parts(
    operands: Sequence[jax.Array], counts: jax.Array, parts: Parts | None
) -> tuple[list[jax.Array], bool]:
    """Align the operands of a part of a batch; tell whether all parts have the same parameters.

    The operands are x, scale, bias and maybe a residual; counts, the same on all parts, come last.
    Where the parameters are the same too, their gradients are sums over the parts, without JAX.
    """
    x, scale, bias, *residual = operands
    names = frozenset() if parts is None else parts.names
    if names & _varying_any([scale]):
        raise RangeError.exact_in_parts(OTHER_SCALES)
    every = _varying_any([*operands, counts])
    different = _varying_any([scale, bias])
    shared = bool(names) and names <= _varying_any([x, *residual]) and not names & different
    of_parameters = every - names if shared else every
    scale, bias = (_as_varying(values, of_parameters) for values in (scale, bias))
    x, *residual = (_as_varying(values, every) for values in (x, *residual))
    return [x, scale, bias, *residual, _as_varying(counts, every - names)], shared


def _as_varying(array_: jax.Array, names: frozenset[str]) -> jax.Array:
    """Mark an array as different on the devices along these axes of the mesh."""
    missing = tuple(sorted(names - _varying(jax.typeof(array_))))
    if not missing:
        return array_
    varying: jax.Array
    if hasattr(jax.lax, "pcast"):
        varying = jax.lax.pcast(array_, missing, to="varying")
    else:  # an older version of JAX, with another name for it
        varying = jax.lax.pvary(array_, missing)
    return varying


def _varying_any(arrays: Sequence[jax.Array]) -> frozenset[str]:
    """Return the names of the axes over which one of the arrays differs."""
    return frozenset().union(*(_varying(jax.typeof(array_)) for array_ in arrays))


def _varying(aval: Any) -> frozenset[str]:
    """Return the names of the axes over which an array differs; JAX has renamed where they are."""
    names: frozenset[str]
    names = aval.mat.varying if hasattr(aval, "mat") else getattr(aval, "vma", frozenset())
    return names

"""vmap: the mapped axis joins the channels, so that a mapped call is one call of a primitive."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from jax import numpy as jnp
from jax.interpreters import batching

from backnorm.jax.engine.primitives import FORWARD, GRADIENT, TANGENT

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import jax

    from backnorm.jax.engine.options import PrimitiveOptions

__all__ = ["register"]

# What an operand or a result is: shaped as x, one value for each channel, or rows of statistics.
X, CHANNEL, ROWS = "x", "channel", "rows"
CHANNELS_OF_ROWS = 1
"""The axis of the channels in rows of statistics."""


def _forward_kinds(options: PrimitiveOptions) -> tuple[list[str], list[str]]:
    operands = [X, CHANNEL, CHANNEL] + [X] * options.has_residual
    operands += [CHANNEL] * (3 * options.frozen + options.counted)
    return operands, [X, *[CHANNEL] * 4, ROWS]


def _fixed_kinds(options: PrimitiveOptions) -> list[str]:
    return [X, *[CHANNEL] * 4, ROWS] + [X] * options.needs_output + [CHANNEL] * options.counted


def _parameter_kinds(options: PrimitiveOptions) -> list[str]:
    return [X, CHANNEL, CHANNEL] + [X] * options.has_residual


def _tangent_kinds(options: PrimitiveOptions) -> tuple[list[str], list[str]]:
    return _parameter_kinds(options) + _fixed_kinds(options), [X]


def _gradient_kinds(options: PrimitiveOptions) -> tuple[list[str], list[str]]:
    return [X, *_fixed_kinds(options)], _parameter_kinds(options)


def _batched(
    primitive: Any, kinds_of: Callable[[PrimitiveOptions], tuple[list[str], list[str]]]
) -> Callable[..., tuple[list[jax.Array], list[int | None]]]:
    def rule(
        operands: Sequence[jax.Array], dims: Sequence[int | None], *, options: PrimitiveOptions
    ) -> tuple[list[jax.Array], list[int | None]]:
        operand_kinds, result_kinds = kinds_of(options)
        size = next(a.shape[d] for a, d in zip(operands, dims, strict=True) if d is not None)
        axis_of = {X: options.axis, CHANNEL: 0, ROWS: CHANNELS_OF_ROWS}
        joined = [
            _join(_first(operand, dim, size), axis_of[kind])
            for operand, dim, kind in zip(operands, dims, operand_kinds, strict=True)
        ]
        results = primitive.bind(*joined, options=options)
        apart = [
            _part(result, axis_of[kind], size)
            for result, kind in zip(results, result_kinds, strict=True)
        ]
        return apart, [0] * len(apart)

    return rule


def _forward_batched(
    operands: Sequence[jax.Array], dims: Sequence[int | None], *, options: PrimitiveOptions
) -> tuple[list[jax.Array], list[int | None]]:
    """Leave x where it is if the frozen statistics and the parameters are the same for all."""
    kinds = _forward_kinds(options)[0]
    mapped = {kind for kind, dim in zip(kinds, dims, strict=True) if dim is not None}
    if not options.frozen or mapped != {X}:
        return _batched(FORWARD, _forward_kinds)(operands, dims, options=options)
    size = next(a.shape[d] for a, d in zip(operands, dims, strict=True) if d is not None)
    whole = [
        _first(operand, dim, size) if kind == X else operand
        for operand, dim, kind in zip(operands, dims, kinds, strict=True)
    ]
    results = FORWARD.bind(*whole, options=replace(options, axis=options.axis + 1))
    return results, [0] + [None] * (len(results) - 1)


def _first(operand: jax.Array, dim: int | None, size: int) -> jax.Array:
    """Return the operand with the mapped axis in front."""
    if dim is None:
        return jnp.broadcast_to(operand, (size, *operand.shape))
    return jnp.moveaxis(operand, dim, 0)


def _join(operand: jax.Array, axis: int) -> jax.Array:
    """Merge the first axis with the channels, which are at `axis` without it."""
    operand = jnp.moveaxis(operand, 0, axis)
    before, after = operand.shape[:axis], operand.shape[axis + 2 :]
    return operand.reshape(*before, operand.shape[axis] * operand.shape[axis + 1], *after)


def _part(result: jax.Array, axis: int, size: int) -> jax.Array:
    before, after = result.shape[:axis], result.shape[axis + 1 :]
    result = result.reshape(*before, size, result.shape[axis] // size, *after)
    return jnp.moveaxis(result, axis, 0)


def register() -> None:
    """Tell JAX the rules."""
    batching.primitive_batchers[FORWARD] = _forward_batched
    batching.primitive_batchers[TANGENT] = _batched(TANGENT, _tangent_kinds)
    batching.primitive_batchers[GRADIENT] = _batched(GRADIENT, _gradient_kinds)

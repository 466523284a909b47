"""Three primitives: the forward pass, and the two linear maps that are its derivative.

`TANGENT` takes steps of x and the parameters to the step of y, `GRADIENT` is its transpose. JAX
transposes one into the other, so that reverse mode runs `GRADIENT` and forward mode `TANGENT`, in
any order. Their own derivatives are those of the formulas, to any order.

The operands, of which a residual and frozen statistics may be absent:

- `FORWARD`: x, scale, bias, residual, mean, low, var, counts -> y, mean, low, var, inv_std, rows;
- `TANGENT`: steps of x, scale, bias and residual; fixed -> step of y;
- `GRADIENT`: dy; fixed -> gradients of x, scale, bias and residual.

`fixed` is x, scale, mean, low, inv_std, rows, y where an activation needs it, and counts. rows are
the statistics in float64 as the C++ kernels keep them, as bits: JAX need not know float64. counts,
of shape (C,), are there if x is a part of a batch, or has positions that do not count, and sums are
exact; then the primitives add over the parts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import jax
from jax import lax
from jax import numpy as jnp
from jax.extend.core import Primitive
from jax.interpreters import ad
from jax.sharding import PartitionSpec

from backnorm.jax.engine import formula

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from backnorm.jax.engine.options import PrimitiveOptions

__all__ = ["FORWARD", "GRADIENT", "TANGENT", "fixed_parts", "steps_of"]


def _primitive(name: str) -> Any:
    primitive = Primitive(f"backnorm_{name}")
    primitive.multiple_results = True

    def run(*operands: jax.Array, options: PrimitiveOptions) -> list[jax.Array]:
        found: list[jax.Array] = primitive.bind(*operands, options=options)
        return found

    primitive.def_impl(jax.jit(run, static_argnames="options"))
    return primitive


FORWARD = _primitive("forward")
TANGENT = _primitive("tangent")
GRADIENT = _primitive("gradient")


def steps_of(options: PrimitiveOptions) -> int:
    """Return how many operands of `TANGENT` are steps."""
    return 3 + options.has_residual


class FixedOperands(NamedTuple):
    """The fixed operands: those with derivatives in `moving`; y and counts may be None."""

    moving: list[Any]
    rows: Any
    y: Any
    counts: Any


def fixed_parts(fixed: Sequence[Any], options: PrimitiveOptions) -> FixedOperands:
    """Return the fixed operands by their names."""
    x, scale, mean, low, inv_std, rows, *rest = fixed
    counts = rest.pop() if options.counted else None
    return FixedOperands([x, scale, mean, low, inv_std], rows, rest[0] if rest else None, counts)


def _forward_shapes(x: Any, scale: Any, *rest: Any, options: PrimitiveOptions) -> list[Any]:
    # What is known of statistics of all parts: the same on each of them, as counts are.
    of_batch = rest[-1] if options.counted else x
    rows = _other(of_batch, (4, *scale.shape, 2), jnp.dtype("uint32"))
    return [_like(x), *[_other(of_batch, scale.shape, scale.dtype)] * 4, rows]


def _like(x: Any) -> Any:
    return x.update(weak_type=False)


def _other(x: Any, shape: tuple[int, ...], dtype: Any) -> Any:
    """Return what is known of an array of channels, which is whole on each device of x."""
    whole = x.sharding.update(spec=PartitionSpec(*[None] * len(shape)))
    return x.update(shape=shape, dtype=dtype, weak_type=False, sharding=whole)


def _tangent_shapes(*operands: Any, options: PrimitiveOptions) -> list[Any]:
    return [_like(operands[steps_of(options)])]


def _gradient_shapes(_: Any, x: Any, scale: Any, *__: Any, options: PrimitiveOptions) -> list[Any]:
    parameter = _other(scale if options.shared else x, scale.shape, scale.dtype)
    return [_like(x), parameter, parameter] + [_like(x)] * options.has_residual


FORWARD.def_abstract_eval(_forward_shapes)
TANGENT.def_abstract_eval(_tangent_shapes)
GRADIENT.def_abstract_eval(_gradient_shapes)


def _is_zero(value: Any) -> bool:
    return type(value) is ad.Zero


def _zero(value: Any) -> Any:
    return ad.Zero(jax.typeof(value).to_tangent_aval())


def _whole(step: Any, value: Any) -> Any:
    """Return the step, as an array where it is zero."""
    return jnp.zeros_like(value) if _is_zero(step) else step


def _forward_jvp(
    primals: Sequence[Any], tangents: Sequence[Any], *, options: PrimitiveOptions
) -> tuple[list[Any], list[Any]]:
    found = FORWARD.bind(*primals, options=options)
    if all(map(_is_zero, tangents)):
        return found, list(map(_zero, found))
    y, mean, low, _, inv_std, rows = found
    x, scale = primals[:2]
    linear = steps_of(options) + 3 * options.frozen
    steps = list(map(_whole, tangents[:linear], primals[:linear]))
    counts = primals[-1] if options.counted else None
    if options.frozen:
        of_statistics = steps[-3:]
        # A step of a statistic acts as one of the bias and one of the scale.
        mean_step, low_step, var_step = of_statistics
        steps[1] = steps[1] - scale * inv_std * inv_std * var_step / 2
        steps[2] = steps[2] - scale * inv_std * (mean_step + low_step)
    elif _is_zero(tangents[0]):
        of_statistics = None
    else:
        of_statistics = list(_moment_steps(steps[0], x, mean, low, counts, options))
    # What a gradient does not go through is a constant to all further derivatives too.
    batch = not options.frozen
    used_mean, used_low, used_inv_std = mean, low, inv_std
    if batch and not options.through_mean:
        used_mean, used_low = lax.stop_gradient((mean, low))
    if batch and not options.through_variance:
        used_inv_std = lax.stop_gradient(inv_std)
    fixed = [x, scale, used_mean, used_low, used_inv_std, rows]
    fixed += [y] * options.needs_output + [counts] * options.counted
    (y_step,) = TANGENT.bind(*steps[: steps_of(options)], *fixed, options=options)
    if of_statistics is None:
        return found, [y_step, *map(_zero, found[1:])]
    inv_std_step = -(inv_std**3) * of_statistics[2] / 2
    return found, [y_step, *of_statistics, inv_std_step, _zero(rows)]


def _moment_steps(
    x_step: jax.Array,
    x: jax.Array,
    mean: jax.Array,
    low: jax.Array,
    counts: jax.Array | None,
    options: PrimitiveOptions,
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Return the steps of mean, low and var; unless they are used, XLA leaves them out."""
    wide = x_step.astype(mean.dtype)
    products = formula.centred(x, mean, low, options.axis) * wide
    mean_step = formula.average(wide, counts, options).ravel()
    var_step = 2 * formula.average(products, counts, options).ravel()
    return mean_step, jnp.zeros_like(low), var_step


def _linear_jvp(
    primitive: Any, computed: Callable[..., list[Any]], count: Callable[[PrimitiveOptions], int]
) -> Callable[..., tuple[list[Any], list[Any]]]:
    """Return the derivative of a primitive that is linear in its first `count` operands."""

    def rule(
        primals: Sequence[Any], tangents: Sequence[Any], *, options: PrimitiveOptions
    ) -> tuple[list[Any], list[Any]]:
        found = primitive.bind(*primals, options=options)
        linear = count(options)
        values, fixed = primals[:linear], primals[linear:]
        parts = []
        if not all(map(_is_zero, tangents[:linear])):
            steps = map(_whole, tangents[:linear], values)
            parts.append(primitive.bind(*steps, *fixed, options=options))
        moving, _, y, counts = fixed_parts(fixed, options)
        moving_steps = fixed_parts(tangents[linear:], options).moving
        if not all(map(_is_zero, moving_steps)):

            def of_moving(*now: Any) -> list[Any]:
                return computed(values, now, y, counts, options)

            parts.append(jax.jvp(of_moving, moving, list(map(_whole, moving_steps, moving)))[1])
        if not parts:
            return found, list(map(_zero, found))
        return found, [sum(terms[1:], terms[0]) for terms in zip(*parts, strict=True)]

    return rule


def _gradient_of(
    values: Sequence[Any], moving: Sequence[Any], y: Any, counts: Any, options: PrimitiveOptions
) -> list[Any]:
    (dy,) = values
    return formula.gradient(dy, moving, y, counts, options)


def _tangent_transpose(
    cotangents: Sequence[Any], *operands: Any, options: PrimitiveOptions
) -> list[Any]:
    linear = steps_of(options)
    fixed = operands[linear:]
    if _is_zero(cotangents[0]):
        return [None] * len(operands)
    gradients = GRADIENT.bind(cotangents[0], *fixed, options=options)
    wanted = map(ad.is_undefined_primal, operands[:linear])
    kept = [g if asked else None for g, asked in zip(gradients, wanted, strict=True)]
    return kept + [None] * len(fixed)


def _gradient_transpose(
    cotangents: Sequence[Any], dy: Any, *fixed: Any, options: PrimitiveOptions
) -> list[Any]:
    del dy
    if all(map(_is_zero, cotangents)):
        return [None] * (1 + len(fixed))
    steps = [jnp.zeros(ct.aval.shape, ct.aval.dtype) if _is_zero(ct) else ct for ct in cotangents]
    return [*TANGENT.bind(*steps, *fixed, options=options), *[None] * len(fixed)]


ad.primitive_jvps[FORWARD] = _forward_jvp
ad.primitive_jvps[TANGENT] = _linear_jvp(TANGENT, formula.tangent, steps_of)
ad.primitive_jvps[GRADIENT] = _linear_jvp(GRADIENT, _gradient_of, lambda _: 1)
ad.primitive_transposes[TANGENT] = _tangent_transpose
ad.primitive_transposes[GRADIENT] = _gradient_transpose

"""Who computes the primitives: the C++ kernels on the CPU, the formulas elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import jax
from jax import numpy as jnp
from jax.interpreters import mlir

from backnorm.errors import RangeError
from backnorm.jax.engine import formula, handlers
from backnorm.jax.engine.moments import batch_moments
from backnorm.jax.engine.parts import count
from backnorm.jax.engine.primitives import FORWARD, GRADIENT, TANGENT, fixed_parts, steps_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from backnorm.jax.engine.options import PrimitiveOptions

__all__ = ["register"]


def _forward(*operands: jax.Array, options: PrimitiveOptions) -> list[jax.Array]:
    if options.exact:
        raise RangeError.exact_in_parts()
    x, scale, bias, *rest = operands
    residual = rest.pop(0) if options.has_residual else None
    if options.frozen:
        statistics = formula.ChannelStatistics(*rest)
    else:
        n = count(x, options.axis)
        statistics = batch_moments(x, options.axis, scale.dtype, n)
    inv_std = formula.inverse_deviation(statistics.var, options.eps)
    y = formula.normalize(x, scale, bias, residual, statistics, inv_std, options)
    rows = jnp.zeros((4, scale.shape[0], 2), jnp.uint32)
    return [y, statistics.mean, statistics.low, statistics.var, inv_std, rows]


def _tangent(*operands: jax.Array, options: PrimitiveOptions) -> list[jax.Array]:
    linear = steps_of(options)
    moving, _, y, counts = fixed_parts(operands[linear:], options)
    return formula.tangent(operands[:linear], moving, y, counts, options)


def _gradient(dy: jax.Array, *fixed: jax.Array, options: PrimitiveOptions) -> list[jax.Array]:
    moving, _, y, counts = fixed_parts(fixed, options)
    return formula.gradient(dy, moving, y, counts, options)


def _lowered(function: Callable[..., list[jax.Array]]) -> Callable[..., Any]:
    rule: Callable[..., Any] = mlir.lower_fun(function, multiple_results=True)
    return rule


def _on_one_device(kernel: Callable[..., Any], formulas: Callable[..., Any]) -> Callable[..., Any]:
    """Return the rule of a kernel, which computes whole arrays only.

    XLA would gather an array that jit has spread over devices for a kernel. It cuts formulas by
    itself, and sums over devices. Within shard_map a kernel gets the part of one device.
    """

    def rule(context: Any, *operands: Any, options: PrimitiveOptions) -> Any:
        axes = context.module_context.axis_context
        several = getattr(axes, "num_devices", 1) > 1
        if hasattr(axes, "manual_axes"):
            several = set(axes.manual_axes) != set(axes.mesh.axis_names)
        return (formulas if several else kernel)(context, *operands, options=options)

    return rule


def register(targets: dict[str, Any]) -> None:
    """Tell JAX who computes the primitives: the handlers on the CPU, formulas without them."""
    for name, target in targets.items():
        jax.ffi.register_ffi_target(f"backnorm_{name}", target, platform="cpu")
    mlir.register_lowering(TANGENT, _lowered(_tangent))
    for primitive, on_cpu, formulas in (
        (FORWARD, handlers.forward, _forward),
        (GRADIENT, handlers.gradient, _gradient),
    ):
        anywhere = _lowered(formulas)
        on_one = _on_one_device(_lowered(on_cpu), anywhere) if targets else anywhere
        mlir.register_lowering(primitive, anywhere)
        mlir.register_lowering(primitive, on_one, platform="cpu")

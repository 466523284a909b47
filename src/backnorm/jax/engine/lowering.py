"""Who computes the primitives: the C++ kernels on the CPU, the formulas elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import jax
import numpy as np
from jax import numpy as jnp
from jax.interpreters import mlir

from backnorm.errors import RangeError
from backnorm.jax.engine import formula
from backnorm.jax.engine.moments import batch_moments, count
from backnorm.jax.engine.primitives import FORWARD, GRADIENT, TANGENT, fixed_parts, steps_of
from backnorm.kernels import native_kernel
from backnorm.kernels.activations import ACTIVATIONS

if TYPE_CHECKING:
    from collections.abc import Callable

    from backnorm.jax.engine.options import PrimitiveOptions

__all__ = ["has_kernels", "register"]

HANDLERS = native_kernel.jax_handlers()


def has_kernels() -> bool:
    """Whether the C++ part was built with the headers of jaxlib."""
    return bool(HANDLERS)


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
    moving, _, y = fixed_parts(operands[linear:])
    return formula.tangent(operands[:linear], moving, y, options)


def _gradient(dy: jax.Array, *fixed: jax.Array, options: PrimitiveOptions) -> list[jax.Array]:
    moving, _, y = fixed_parts(fixed)
    return formula.gradient(dy, moving, y, options)


def _call(
    name: str, like: list[jax.Array], operands: list[jax.Array], options: PrimitiveOptions
) -> list[jax.Array]:
    """Call a handler of jax_calls.cpp."""
    results = [jax.ShapeDtypeStruct(value.shape, value.dtype) for value in like]
    attributes = {
        "axis": np.int64(options.axis),
        "eps": np.float64(options.eps),
        "activation": np.int64(ACTIVATIONS[options.activation].code),
        "slope": np.float64(options.negative_slope),
        "through_mean": np.bool_(options.through_mean),
        "through_variance": np.bool_(options.through_variance),
        "frozen": np.bool_(options.frozen),
        "residual": np.bool_(options.has_residual),
        "exact": np.bool_(options.exact),
    }
    return list(jax.ffi.ffi_call(f"backnorm_{name}", results)(*operands, **attributes))


def _forward_on_cpu(*operands: jax.Array, options: PrimitiveOptions) -> list[jax.Array]:
    x, scale = operands[:2]
    rows = jax.ShapeDtypeStruct((4, *scale.shape, 2), jnp.uint32)
    return _call("forward", [x, *[scale] * 4, rows], list(operands), options)


def _gradient_on_cpu(
    dy: jax.Array, *fixed: jax.Array, options: PrimitiveOptions
) -> list[jax.Array]:
    (x, scale, *_), rows, y = fixed_parts(fixed)
    like = [x, scale, scale] + [x] * options.has_residual
    return _call("gradient", like, [dy, x, scale, rows] + [y] * options.needs_output, options)


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


def register(handlers: dict[str, Any]) -> None:
    """Tell JAX who computes the primitives: the handlers on the CPU, formulas without them."""
    for name, handler in handlers.items():
        jax.ffi.register_ffi_target(f"backnorm_{name}", handler, platform="cpu")
    mlir.register_lowering(TANGENT, _lowered(_tangent))
    for primitive, on_cpu, formulas in (
        (FORWARD, _forward_on_cpu, _forward),
        (GRADIENT, _gradient_on_cpu, _gradient),
    ):
        anywhere = _lowered(formulas)
        on_one = _on_one_device(_lowered(on_cpu), anywhere) if handlers else anywhere
        mlir.register_lowering(primitive, anywhere)
        mlir.register_lowering(primitive, on_one, platform="cpu")

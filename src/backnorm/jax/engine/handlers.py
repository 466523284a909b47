"""The calls of the C++ kernels on the CPU: the handlers of jax_calls.cpp and jax_parts.cpp."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import jax
import numpy as np
from jax import lax
from jax import numpy as jnp

from backnorm.jax.engine.primitives import fixed_parts
from backnorm.kernels import exact_limbs, native_kernel
from backnorm.kernels.activations import ACTIVATIONS

if TYPE_CHECKING:
    from backnorm.jax.engine.options import PrimitiveOptions

__all__ = ["HANDLERS", "forward", "gradient", "has_kernels"]

HANDLERS = native_kernel.jax_handlers()


def has_kernels() -> bool:
    """Whether the C++ part was built with the headers of jaxlib."""
    return bool(HANDLERS)


def forward(*operands: jax.Array, options: PrimitiveOptions) -> list[jax.Array]:
    """Return what `FORWARD` does."""
    x, scale, bias, *rest = operands
    rows = jax.ShapeDtypeStruct((4, *scale.shape, 2), jnp.uint32)
    results = [x, *[scale] * 4, rows]
    if not options.counted:
        return _call("forward", results, list(operands), options)
    counts = rest.pop()
    words = _words(scale.shape, exact_limbs.MOMENT_WORDS)
    total = _over_parts(_call("part_moments", [words], [x], options)[0], options)
    return _call("part_normalize", results, [x, scale, bias, total, counts, *rest], options)


def gradient(dy: jax.Array, *fixed: jax.Array, options: PrimitiveOptions) -> list[jax.Array]:
    """Return what `GRADIENT` does."""
    (x, scale, *_), rows, y, counts = fixed_parts(fixed, options)
    results = [x, scale, scale] + [x] * options.has_residual
    output = [y] * options.needs_output
    if not options.counted:
        return _call("gradient", results, [dy, x, scale, rows, *output], options)
    sides = 2 if ACTIVATIONS[options.activation].has_slope else 1
    words = _words((*scale.shape, sides), exact_limbs.COMOMENT_WORDS)
    (own,) = _call("part_comoments", [words], [dy, x, *output], options)
    total = _over_parts(own, options)
    operands = [dy, x, scale, rows, total, own, counts, _are_alike(scale, options), *output]
    return _call("part_gradients", results, operands, options)


def _words(shape: tuple[int, ...], count: int) -> Any:
    """Return what exact sums are: integers of which those of 2^15 parts can be added."""
    return jax.ShapeDtypeStruct((*shape, count), jnp.int32)


def _over_parts(words: jax.Array, options: PrimitiveOptions) -> jax.Array:
    return words if options.parts is None else options.parts.added(words)


def _are_alike(scale: jax.Array, options: PrimitiveOptions) -> jax.Array:
    """Return whether all parts have this scale, where JAX's types do not say so."""
    if options.parts is None or options.shared:
        return jnp.bool_(True)  # noqa: FBT003 - the scalar
    bits = lax.bitcast_convert_type(scale, jnp.dtype(f"uint{8 * scale.dtype.itemsize}"))
    names = options.parts.axis_name
    return (lax.pmax(bits, names) == lax.pmin(bits, names)).all()


def _call(
    name: str, like: list[jax.Array], operands: list[jax.Array], options: PrimitiveOptions
) -> list[jax.Array]:
    """Call a handler."""
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
        "shared": np.bool_(options.shared),
    }
    return list(jax.ffi.ffi_call(f"backnorm_{name}", results)(*operands, **attributes))

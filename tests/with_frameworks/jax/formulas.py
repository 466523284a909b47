"""Batch normalization in jax.numpy as its definition reads: what the tests compare with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import jax

__all__ = ["ACTIVATIONS", "draw", "normalized", "parts"]


def _activations() -> dict[str, Any]:
    from jax import nn  # noqa: PLC0415 - only where JAX is there

    return {
        "identity": lambda z: z,
        "relu": nn.relu,
        "relu6": nn.relu6,
        "leaky_relu": lambda z: nn.leaky_relu(z, 0.01),
    }


ACTIVATIONS = ("identity", "relu", "relu6", "leaky_relu")


def normalized(
    x: jax.Array,
    scale: Any = 1.0,
    bias: Any = 0.0,
    *,
    axis: int = -1,
    eps: Any = 1e-5,
    activation: str = "identity",
    residual: Any = 0.0,
    mask: Any = None,
    through: str = "both",
) -> jax.Array:
    """Return y; statistics that the gradient does not go through are cut by stop_gradient."""
    import jax  # noqa: PLC0415 - only where JAX is there

    x = jax.numpy.asarray(x)
    axis %= x.ndim
    axes = tuple(k for k in range(x.ndim) if k != axis)
    counts = None if mask is None else jax.numpy.expand_dims(mask, axis)
    mean = x.mean(axes, keepdims=True, where=counts)
    deviation = x - mean
    var = (deviation * deviation).mean(axes, keepdims=True, where=counts)
    if through in {"variance", "none"}:
        mean = jax.lax.stop_gradient(mean)
    if through in {"mean", "none"}:
        var = jax.lax.stop_gradient(var)
    shape = [-1 if k == axis else 1 for k in range(x.ndim)]
    scale, bias = (jax.numpy.broadcast_to(v, x.shape[axis]).reshape(shape) for v in (scale, bias))
    z = (x - mean) / jax.numpy.sqrt(var + eps) * scale + bias + residual
    y = _activations()[activation](z)
    return y if counts is None else jax.numpy.where(counts, y, 0)


def draw(*shape: int, seed: int = 0, dtype: Any = np.float64) -> Any:
    """Return random numbers whose mean is not 0."""
    return np.random.default_rng([seed, *shape]).normal(0.5, 1.0, shape).astype(dtype)


def parts(got: Any, want: Any) -> float:
    """Return the largest difference of two trees of arrays, each in parts of its largest value."""
    import jax  # noqa: PLC0415 - only where JAX is there

    from backnorm.testing.budget import parts as parts_of  # noqa: PLC0415

    pairs = zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True)
    return max(parts_of(np.asarray(a), np.asarray(b)) for a, b in pairs)

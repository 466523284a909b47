"""The activations, as the NumPy code of the kernels applies them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from backnorm._types import Activation, AnyArray, Float64Array

__all__ = ["activate", "arriving"]

RELU6_LIMIT = 6.0


def activate(z: Float64Array, activation: Activation, negative_slope: float) -> Float64Array:
    """Apply the activation in place; comparisons are written so that NaN stays NaN."""
    if activation == "identity":
        return z
    low = negative_slope if activation == "leaky_relu" else 0.0
    np.multiply(z, low, out=z, where=z < 0)
    if activation == "relu6":
        z[z > RELU6_LIMIT] = RELU6_LIMIT
    return z


def arriving(
    dy: Float64Array, y: AnyArray, activation: Activation, negative_slope: float
) -> Float64Array:
    """Return what arrives before the activation: dy times its derivative, read from its output y.

    Chosen, not multiplied: an infinite dy behind a closed relu gives 0.
    """
    if activation == "leaky_relu":
        return np.where(y > 0, dy, dy * negative_slope)
    inside = y > 0
    if activation == "relu6":
        inside &= y < np.asarray(RELU6_LIMIT, y.dtype)
    return np.where(inside, dy, 0.0)

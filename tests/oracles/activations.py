"""The activations at hand-picked values: below, at and above each kink. The slope is 0.25."""

from __future__ import annotations

SLOPE = 0.25
"""negative_slope."""

Z = [-8.0, -0.0, 0.0, 2.0, 6.0, 7.0]
"""Values before the activation."""

OUTPUTS = {
    "identity": [-8.0, 0.0, 0.0, 2.0, 6.0, 7.0],
    "relu": [0.0, 0.0, 0.0, 2.0, 6.0, 7.0],
    "relu6": [0.0, 0.0, 0.0, 2.0, 6.0, 6.0],
    "leaky_relu": [-2.0, 0.0, 0.0, 2.0, 6.0, 7.0],
}
"""Values after it."""

DERIVATIVES = {
    "identity": [1.0, 1.0, 1.0, 1.0, 1.0, 1.0],
    "relu": [0.0, 0.0, 0.0, 1.0, 1.0, 1.0],
    "relu6": [0.0, 0.0, 0.0, 1.0, 0.0, 0.0],
    "leaky_relu": [0.25, 0.25, 0.25, 1.0, 1.0, 1.0],
}
"""Derivatives; at a kink that of the outer branch: of relu6 at 6 the one above."""

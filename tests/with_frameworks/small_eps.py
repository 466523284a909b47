"""TensorFlow's fused function with an eps that older versions raised; runs under its Python."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

EPS = 1e-6


def small_eps(x: Any, gamma: Any, beta: Any) -> Any:
    """Normalize, channels last."""
    return tf.compat.v1.nn.fused_batch_norm(x, gamma, beta, epsilon=EPS)[0]


small_eps.channels_last = True

"""What the layers of a model file compute in eval, by the textbook's formula alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from backnorm.convert.files import ModelFile, NormLayer

NAMES: Mapping[str, tuple[str, str, str, str, str, float]] = {
    "torch": ("weight", "bias", "running_mean", "running_var", "eps", 1e-5),
    "keras": ("gamma", "beta", "moving_mean", "moving_variance", "epsilon", 1e-3),
    "flax": ("scale", "bias", "mean", "var", "epsilon", 1e-5),
    "onnx-15": ("scale", "B", "input_mean", "input_var", "epsilon", 1e-5),
    "mxnet": ("gamma", "beta", "moving_mean", "moving_var", "eps", 1e-3),
    "caffe": ("gamma", "beta", "mean", "variance", "eps", 1e-5),
}
"""gamma, beta, mean, variance and eps in each dialect, and the default of eps."""


def layer_output(layer: NormLayer, x: np.ndarray) -> np.ndarray:
    """gamma*(x - mean)/sqrt(var + eps) + beta in float64, the channels on axis 1."""
    gamma, beta, mean, var, eps, default = NAMES[layer.dialect]
    state = {key: array.astype(np.float64) for key, array in layer.state.items()}
    divisor = float(state["scale_factor"][0]) if layer.dialect == "caffe" else 1.0
    shape = (1, -1, *[1] * (x.ndim - 2))
    x_hat = (x - state[mean].reshape(shape) / divisor) / np.sqrt(
        state[var].reshape(shape) / divisor + float(layer.options.get(eps, default))
    )
    fixed = layer.dialect == "mxnet" and layer.options.get("fix_gamma", True)
    if gamma in state and not fixed:
        x_hat = x_hat * state[gamma].reshape(shape)
    return x_hat + (state[beta].reshape(shape) if beta in state else 0.0)


def output(model: ModelFile, x: np.ndarray) -> np.ndarray:
    """All layers one after the other, with a ReLU between them."""
    y = x.astype(np.float64)
    for index, layer in enumerate(model.layers):
        y = layer_output(layer, np.maximum(y, 0.0) if index else y)
    return y

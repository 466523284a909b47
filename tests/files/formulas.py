"""What the layers of a model file compute in eval, by the textbook's formula alone.

The names of arrays and options come from the rows, which the goldens of the dialects prove.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from backnorm.dialects import row_of

if TYPE_CHECKING:
    from backnorm.convert.files import ModelFile, NormLayer
    from backnorm.dialects.columns import Option


def option(layer: NormLayer, option: Option) -> object:
    """What a layer was told, or the default."""
    return layer.options.get(str(option.name), option.default)


def layer_output(layer: NormLayer, x: np.ndarray) -> np.ndarray:
    """gamma*(x - mean)/sqrt(var + eps) + beta in float64, the channels on axis 1."""
    row = row_of(layer.dialect)
    shape = (1, -1, *[1] * (x.ndim - 2))
    by_role = {
        array.role: layer.state[array.name].astype(np.float64).reshape(shape)
        for array in row.arrays.known
        if array.name in layer.state
    }
    divisor = by_role.get("divisor", 1.0)
    eps = float(str(option(layer, row.eps.known)))
    x_hat = (x - by_role["mean"] / divisor) / np.sqrt(by_role["var"] / divisor + eps)
    if not option(layer, row.fixed_gamma.known):
        x_hat = x_hat * by_role.get("gamma", 1.0)
    return x_hat + by_role.get("beta", 0.0)


def output(model: ModelFile, x: np.ndarray) -> np.ndarray:
    """All layers one after the other, with a ReLU between them."""
    y = x.astype(np.float64)
    for index, layer in enumerate(model.layers):
        y = layer_output(layer, np.maximum(y, 0.0) if index else y)
    return y

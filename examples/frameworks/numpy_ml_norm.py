"""The four normalization layers of numpy-ml, which are NumPy pairs of forward and backward.

pip install numpy-ml 'numpy<1.24'
backnorm audit --python python3.9 examples/frameworks/numpy_ml_norm.py:NORMS
"""

import copy
from importlib import metadata

import numpy as np
from numpy_ml.neural_nets import layers


class _Pair:
    """A layer with gamma and beta where it has scaler and intercept."""

    version = metadata.version("numpy-ml")
    layer = None

    def __init__(self):
        """Start from statistics that no batch has; the layer makes its arrays in its first call."""
        self.inner = self.layer()
        self.inner.forward(np.ones((2, *self.sample_shape[1:], self.sample_shape[0])))
        if "running_mean" in self.inner.parameters:
            self.running_mean = np.full(self.parameter_shape, 0.5)
            self.running_var = np.full(self.parameter_shape, 2.0)

    def forward(self, x, gamma, beta):
        """Return y. In evaluation numpy-ml has no gradient: a frozen layer refuses."""
        inner, here = copy.deepcopy(self.inner), vars(self)
        kept = [name for name in ("running_mean", "running_var") if name in here]
        inner.flush_gradients()
        inner.parameters.update({name: here[name] for name in kept}, scaler=gamma, intercept=beta)
        y = inner.forward(x)
        here.update({name: inner.parameters[name] for name in kept})
        return y, inner

    def backward(self, dy, cache):
        """Return dx, dgamma and dbeta."""
        dx = cache.backward(dy)
        return dx, cache.gradients["scaler"], cache.gradients["intercept"]


class BatchNorm1D(_Pair):
    """Over the samples."""

    kind, sample_shape, parameter_shape = "batch", (4,), (4,)
    layer = layers.BatchNorm1D


class BatchNorm2D(_Pair):
    """Over the samples and places, channels last."""

    kind, sample_shape, parameter_shape, axes = "batch", (3, 2, 2), (3,), "NHWC"
    layer = layers.BatchNorm2D


class LayerNorm1D(_Pair):
    """Over all values of a sample."""

    kind, sample_shape, parameter_shape = "layer", (6,), (6,)
    layer = layers.LayerNorm1D


class LayerNorm2D(_Pair):
    """The same of an image; gamma and beta have a value for each of them."""

    kind, sample_shape, parameter_shape = "layer", (2, 2, 2), (2, 2, 2)
    layer = layers.LayerNorm2D


NORMS = {
    "numpy_ml.BatchNorm1D": BatchNorm1D,
    "numpy_ml.BatchNorm2D": BatchNorm2D,
    "numpy_ml.LayerNorm1D": LayerNorm1D,
    "numpy_ml.LayerNorm2D": LayerNorm2D,
}

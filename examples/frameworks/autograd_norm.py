"""A batch and a layer normalization written with autograd, which has none of its own.

pip install autograd
backnorm audit --python python3.11 examples/frameworks/autograd_norm.py:NORMS
"""

from importlib import metadata

import autograd.numpy as anp
from autograd import make_vjp


def batch_norm(x, gamma, beta):
    """Normalize over the samples and places; anp.var is divided by n."""
    mean, var = anp.mean(x, (0, 2), keepdims=True), anp.var(x, (0, 2), keepdims=True)
    return gamma[:, None] * (x - mean) / anp.sqrt(var + 1e-5) + beta[:, None]


def layer_norm(x, gamma, beta):
    """Normalize over the last axis; anp.std has no place for eps in the root."""
    mean, std = anp.mean(x, -1, keepdims=True), anp.std(x, -1, keepdims=True)
    return gamma * (x - mean) / (std + 1e-5) + beta


class BatchNorm:
    """autograd's derivative of batch_norm."""

    kind, sample_shape, parameter_shape = "batch", (3, 2), (3,)
    version = metadata.version("autograd")
    function = staticmethod(batch_norm)

    def forward(self, x, gamma, beta):
        """Return y, and the function from dy to the gradients."""
        pull, y = make_vjp(lambda given: self.function(*given))((x, gamma, beta))
        return y, pull

    def backward(self, dy, cache):
        """Return dx, dgamma and dbeta."""
        return cache(dy)


class LayerNorm(BatchNorm):
    """autograd's derivative of layer_norm."""

    kind, sample_shape, parameter_shape = "layer", (6,), (6,)
    function = staticmethod(layer_norm)


NORMS = {"batch norm in autograd": BatchNorm, "layer norm in autograd": LayerNorm}

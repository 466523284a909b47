"""batchnorm of mygrad, as a pair of NumPy functions.

pip install mygrad
backnorm audit --python python3.11 examples/frameworks/mygrad_norm.py:NORMS
"""

import mygrad
from mygrad.nnet.layers import batchnorm


class BatchNorm:
    """mygrad.nnet.layers.batchnorm; there is no running statistic, and so no evaluation."""

    kind, sample_shape, parameter_shape = "batch", (3, 2), (3,)
    version = mygrad.__version__

    @staticmethod
    def forward(x, gamma, beta):
        """Return y, and what leads back to x, gamma and beta."""
        leaves = [mygrad.tensor(value, copy=True) for value in (x, gamma, beta)]
        y = batchnorm(leaves[0], gamma=leaves[1], beta=leaves[2], eps=1e-5)
        return y.data.copy(), (y, leaves)

    @staticmethod
    def backward(dy, cache):
        """Return dx, dgamma and dbeta."""
        y, leaves = cache
        y.backward(dy)
        return tuple(leaf.grad.copy() for leaf in leaves)


NORMS = {"mygrad.nnet.layers.batchnorm": BatchNorm}

"""Batch normalization of Aesara, in training and in evaluation. PyTensor has left it out.

pip install aesara 'numpy<1.24' 'setuptools<70'
    export AESARA_FLAGS=mode=FAST_COMPILE,cxx=
    backnorm audit --python python3.10 examples/frameworks/aesara_norm.py:NORMS
"""

import aesara
import aesara.tensor as at
import numpy as np
from aesara.tensor.nnet.batchnorm import batch_normalization_test, batch_normalization_train

AXES, EPS = (0, 2), 1e-4


def _compiled(train, dtype):
    """Return functions of arrays: y, and the gradients of sum(y*dy)."""
    x, dy = at.TensorType(dtype, (None,) * 3)(), at.TensorType(dtype, (None,) * 3)()
    gamma, beta, mean, var = (at.TensorType(dtype, (None,))() for _ in range(4))
    row = [one.dimshuffle("x", 0, "x") for one in (gamma, beta, mean, var)]
    if train:
        y, _, _, new_mean, new_var = batch_normalization_train(
            x, *row[:2], axes=AXES, epsilon=EPS, running_mean=row[2], running_var=row[3]
        )
    else:
        y = batch_normalization_test(x, *row, axes=AXES, epsilon=EPS)
        new_mean, new_var = row[2:]
    given = [x, gamma, beta, mean, var]
    gradients = aesara.grad((y * dy).sum(), [x, gamma, beta])
    run = {"on_unused_input": "ignore"}
    return (
        aesara.function(given, [y, new_mean.flatten(), new_var.flatten()], **run),
        aesara.function([*given, dy], gradients, **run),
    )


KEPT = {}


class BatchNorm:
    """batch_normalization_train and batch_normalization_test with running statistics."""

    kind, sample_shape, parameter_shape = "batch", (3, 2), (3,)
    version = aesara.__version__

    def __init__(self):
        """Start from statistics that no batch has."""
        self.training = True
        self.running_mean, self.running_var = np.array([0.5, -1.0, 2.0]), np.array([2.0, 0.5, 1.5])

    def forward(self, x, gamma, beta):
        """Return y, and the arguments again; in training move the statistics."""
        key = self.training, x.dtype.name
        if key not in KEPT:
            KEPT[key] = _compiled(*key)
        kept = [one.astype(x.dtype) for one in (self.running_mean, self.running_var)]
        y, mean, var = KEPT[key][0](x, gamma, beta, *kept)
        if self.training:
            self.running_mean, self.running_var = mean, var
        return y, (key, [x, gamma, beta, *kept])

    def backward(self, dy, cache):
        """Return dx, dgamma and dbeta."""
        key, given = cache
        return tuple(map(np.asarray, KEPT[key][1](*given, dy)))


NORMS = {"aesara.tensor.nnet.batchnorm": BatchNorm}

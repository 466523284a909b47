"""How each framework is called, one file a framework: plain Python 3.6, nothing of backnorm.

`FRAMEWORKS` is the one list of them. What a file must have stands in `backnorm.host.specs`.
"""

__all__ = ["FRAMEWORKS"]

FRAMEWORKS = (
    "torch",
    "jax",
    "flax",
    "haiku",
    "equinox",
    "keras",
    "tensorflow",
    "tinygrad",
    "mxnet",
    "paddle",
    "chainer",
    "caffe",
)
"""Import names, in the order of the help and of the reports."""

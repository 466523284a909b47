"""How each framework is called, one file a framework: plain Python 3.6, nothing of backnorm.

`FRAMEWORKS` is the one list of them. What a file must have stands in `backnorm.host.specs`.
"""

import importlib

__all__ = ["FRAMEWORKS", "calls_of", "listed", "own"]

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
    "mindspore",
    "mlx",
    "chainer",
    "caffe",
)
"""Import names, in the order of the help and of the reports."""


def calls_of(framework):
    """Return the module of a framework, or None if this package has no such file."""
    if framework not in FRAMEWORKS:
        return None
    # Another interpreter loads this package under another name, so the name is not fixed.
    return importlib.import_module("%s.%s" % (__name__, framework))


def listed(title, owner, rows):
    """Return (name, kind, class, arguments) of each row whose class the owner has.

    Versions of a framework differ in the layers that they have.
    """
    known = ((name, kind, getattr(owner, name, None), given) for name, kind, given in rows)
    return [(title + "." + n, kind, cls, given) for n, kind, cls, given in known if cls is not None]


def own(module):
    """Return a module of backnorm, or None where an interpreter lacks it: nothing here needs it.

    Layers that come with the audit are listed with those of their framework.
    """
    try:
        return importlib.import_module("backnorm.%s" % module)
    except ImportError:
        return None

"""How layers and functions of tinygrad are called and differentiated.

Plain: see `backnorm.host.specs`.
"""

import copy

FRAMEWORK = "tinygrad"


def base():
    """tinygrad differentiates."""
    return "tinygrad"


LAYERS = (
    ("BatchNorm", "batch", [4]),
    ("LayerNorm", "layer", [6]),
    ("LayerNorm2d", "", [4]),
    ("GroupNorm", "group", [2, 4]),
    ("InstanceNorm", "instance", [4]),
    ("RMSNorm", "rms", [6]),
)
"""Names, kinds and arguments. LayerNorm2d normalizes over axis 1: it is none of the five kinds."""


def layer_classes():
    """Return the classes of layers."""
    from tinygrad import nn

    return tuple(getattr(nn, name) for name, _, _ in LAYERS if hasattr(nn, name))


def layers(tools):
    """Return all normalization layers."""
    from tinygrad import nn

    known = ((name, kind, getattr(nn, name, None), given) for name, kind, given in LAYERS)
    return [
        ("tinygrad.nn." + n, k, cls, given) for n, k, cls, given in known if cls is not None and k
    ]


def layer(candidate, kind, train, tools):
    """Return the facts of a layer in one mode."""
    from tinygrad import Tensor

    names = {"gamma": "weight", "beta": "bias"}
    named = {role: n for role, n in names.items() if getattr(candidate, n, None) is not None}

    def call(arrays):
        fresh = copy.copy(candidate)
        dtype = arrays["x"].dtype
        for role, name in named.items():
            setattr(fresh, name, arrays[role])
        for name in ("running_mean", "running_var"):
            old = getattr(fresh, name, None)
            if old is not None:
                setattr(fresh, name, Tensor(tools.running(name, old.shape[0])).cast(dtype))
        if hasattr(fresh, "num_batches_tracked"):
            fresh.num_batches_tracked = Tensor(0)
        with _mode(train):
            return fresh(arrays["x"])

    shapes = [getattr(candidate, name).shape for name in named.values()]
    return {
        "call": call,
        "shape": shapes[0] if shapes else (tools.CHANNELS[kind],),
        "gamma": "gamma" in named,
        "beta": "beta" in named,
        "groups": getattr(candidate, "num_groups", 0) if kind == "group" else 0,
    }


def _mode(train):
    """Set whether to train, for a while: in older versions by a class."""
    from tinygrad import Tensor, helpers

    older = getattr(Tensor, "train", None)
    return helpers.Context(TRAINING=int(train)) if older is None else older(train)


def differentiate(call, leaves, constants, dy):
    """Return y and the gradients of sum(y*dy)."""
    from tinygrad import Tensor

    given = {role: Tensor(value) for role, value in leaves.items()}
    fixed = {role: Tensor(value) for role, value in constants.items()}
    y = call(dict(fixed, **given))
    y = y[0] if isinstance(y, (tuple, list)) else y
    if dy is None:
        return y.numpy(), {}
    gradients = (y * Tensor(dy).cast(y.dtype)).sum().gradient(*given.values())
    return y.numpy(), {role: g.numpy() for role, g in zip(given, gradients)}

"""How layers and functions of tinygrad are called and differentiated.

Plain: see `backnorm.host.specs`.
"""

import copy
import functools

import numpy as np

from .. import defaults
from ..runners import first_of
from . import listed

__all__ = ["LAYERS", "differentiate", "higher", "layer", "layer_classes", "layers"]

LAYERS = (
    ("BatchNorm", "batch", [4]),
    ("LayerNorm", "layer", [6]),
    ("LayerNorm2d", "layer", [6]),
    ("GroupNorm", "group", [2, 4]),
    ("InstanceNorm", "instance", [4]),
    ("RMSNorm", "rms", [6]),
)
"""Names, kinds and arguments."""


def layer_classes():
    """Return the classes of layers."""
    from tinygrad import nn

    return tuple(getattr(nn, name) for name, _, _ in LAYERS if hasattr(nn, name))


def layers():
    """Return all normalization layers."""
    from tinygrad import nn

    return listed("tinygrad.nn", nn, LAYERS)


def layer(candidate, kind, train):
    """Return the layer spec of a layer in one mode."""
    from tinygrad import Tensor, nn

    run = _over_axis_1 if isinstance(candidate, getattr(nn, "LayerNorm2d", ())) else _as_it_is
    names = {"gamma": "weight", "beta": "bias"}
    named = {role: n for role, n in names.items() if getattr(candidate, n, None) is not None}

    kept = {name: getattr(candidate, name, None) for name in ("running_mean", "running_var")}
    state = {
        name: defaults.running(name, old.shape[0]) for name, old in kept.items() if old is not None
    }
    if hasattr(candidate, "num_batches_tracked"):
        state["num_batches_tracked"] = np.zeros(())

    def filled(arrays):
        fresh = copy.copy(candidate)
        for role in set(named).intersection(arrays):
            setattr(fresh, named[role], arrays[role])
        for name in state:
            # A copy, which training writes over.
            setattr(fresh, name, arrays[name] + 0)
        return fresh

    def call(arrays):
        with _mode(train):
            return run(filled(arrays), arrays["x"])

    def take_step(constants, leaves, dy, training):
        fresh = filled({name: Tensor(v) for name, v in dict(constants, **leaves).items()})
        with _mode(training):
            run(fresh, Tensor(leaves["x"])).realize()
        return {name: getattr(fresh, name).numpy() for name in state}

    shapes = [getattr(candidate, name).shape for name in named.values()]
    own = type(candidate) in layer_classes()
    return {
        "call": call,
        "higher": higher,
        "state": state,
        "take_step": take_step,
        "differentiate": _replayed if own else differentiate,
        "shape": shapes[0] if shapes else (defaults.CHANNELS[kind],),
        "gamma": "gamma" in named,
        "beta": "beta" in named,
        "groups": getattr(candidate, "num_groups", 0) if kind == "group" else 0,
    }


def _as_it_is(layer, x):
    """Call a layer."""
    return layer(x)


def _over_axis_1(layer, x):
    """Call a layer that normalizes over axis 1 of images, whose one pixel each row of x becomes."""
    return layer(x.reshape(-1, x.shape[-1], 1, 1)).reshape(x.shape)


def _mode(train):
    """Set whether to train, for a while: in older versions by a class."""
    from tinygrad import Tensor, helpers

    older = getattr(Tensor, "train", None)
    return helpers.Context(TRAINING=int(train)) if older is None else older(train)


def differentiate(call, leaves, constants, dy):
    """Return y and the gradients of sum(y*dy)."""
    from tinygrad import Tensor

    tensors = [Tensor(array) for array in _arrays(leaves, constants, dy)]
    return _named(leaves, _computed(call, [*leaves], [*constants], tensors))


def higher(call, leaves, constants, dy, along):
    """Return the last of the gradients of the gradient."""
    from tinygrad import Tensor

    given = {role: Tensor(array) for role, array in dict(leaves, dy=dy).items()}
    fixed = {name: Tensor(array) for name, array in constants.items()}
    y = call(dict(fixed, **{role: given[role] for role in leaves}))
    y = first_of(y)
    total = (y * given["dy"].cast(y.dtype)).sum()
    for direction in along:
        (slope,) = total.gradient(given["x"])
        total = (slope * Tensor(direction)).sum()
    found = total.gradient(*given.values())
    return {role: one.numpy() for role, one in zip(given, found)}


def _replayed(call, leaves, constants, dy):
    """Do the same, ten times as fast from the third time on: what is computed is recorded.

    For tinygrad's own layers only: what others do in Python between its operations, a record lacks.
    """
    arrays = _arrays(leaves, constants, dy)
    tensors = [_there(array) for array in arrays]
    facts = tuple((tensor.shape, tensor.dtype) for tensor in tensors)
    program = _program(call, tuple(leaves), tuple(constants), facts)
    return _named(leaves, program(*tensors))


@functools.lru_cache(maxsize=128)
def _program(call, leaves, constants, facts):
    """Return what records y and the gradients of arguments of these shapes and formats."""
    from tinygrad import TinyJit

    def run(*tensors):
        return [found.realize() for found in _computed(call, leaves, constants, tensors)]

    return TinyJit(run)


def _computed(call, leaves, constants, tensors):
    """Return y, and the gradients of sum(y*dy) if there is a dy behind the arguments."""
    given = dict(zip([*leaves, *constants], tensors))
    y = call(given)
    y = first_of(y)
    if len(tensors) == len(given):
        return [y]
    total = (y * tensors[-1].cast(y.dtype)).sum()
    return [y, *total.gradient(*[given[role] for role in leaves])]


def _arrays(leaves, constants, dy):
    """Return the values in their order, dy last if there is one."""
    return [*leaves.values(), *constants.values()] + ([] if dy is None else [dy])


def _there(array):
    """Return a tensor that is computed already, on the CPU in the array's own memory."""
    from tinygrad import Device, Tensor
    from tinygrad.dtype import dtypes

    if Device.DEFAULT != "CPU" or not array.flags.c_contiguous:
        return Tensor(array).realize()
    dtype = getattr(dtypes, array.dtype.name)
    return Tensor.from_blob(array.ctypes.data, array.shape, dtype=dtype, device="CPU")


def _named(leaves, found):
    """Return y and the gradients by their names as arrays."""
    y, *gradients = [one.numpy() for one in found]
    return y, dict(zip(leaves, gradients))

"""How layers and functions of MLX are called and differentiated. Plain: see `backnorm.host.specs`.

MLX has float64 on the CPU only: where a GPU is its default, that dtype is left out.
"""

import copy

import numpy as np

from .. import defaults
from ..names import role_of
from ..runners import first_of
from . import listed

__all__ = ["LAYERS", "differentiate", "higher", "layer", "layer_classes", "layers", "take_step"]


def layer_classes():
    """Return the classes of layers."""
    from mlx import nn

    return (nn.Module,)


LAYERS = (
    ("BatchNorm", "batch", [4]),
    ("LayerNorm", "layer", [6]),
    ("GroupNorm", "group", {"num_groups": 2, "dims": 4, "pytorch_compatible": True}),
    ("InstanceNorm", "instance", {"dims": 4, "affine": True}),
    ("RMSNorm", "rms", [6]),
)
"""Names, kinds and arguments. GroupNorm is asked for groups of channels that are neighbours."""


def layers():
    """Return all normalization layers."""
    from mlx import nn

    return listed("mlx.nn", nn, LAYERS)


def layer(candidate, kind, train):
    """Return the layer spec of a layer in one mode."""
    from mlx.utils import tree_flatten, tree_unflatten

    arrays_of = dict(tree_flatten(candidate.parameters()))
    start, named = {}, {}
    for name, array in arrays_of.items():
        role = role_of(name)
        if role.startswith("running_"):
            start[name] = defaults.running(role, array.size).reshape(array.shape)
        elif role in ("gamma", "beta"):
            named.setdefault(role, name)

    def filled(arrays, training):
        fresh = copy.deepcopy(candidate)
        fresh.train(training)
        given = {named[role]: arrays[role] for role in set(named).intersection(arrays)}
        given.update((name, arrays[name]) for name in start)
        fresh.update(tree_unflatten(list(given.items())))
        return fresh

    def step(arrays, training):
        fresh = filled(arrays, training)
        fresh(arrays["x"])
        after = dict(tree_flatten(fresh.parameters()))
        return {name: after[name] for name in start}

    shapes = [arrays_of[name].shape for name in named.values()]
    return {
        "call": lambda arrays: filled(arrays, train)(arrays["x"]),
        "step": step,
        "state": start,
        "shape": shapes[0] if shapes else (defaults.CHANNELS[kind],),
        "gamma": "gamma" in named,
        "beta": "beta" in named,
        "groups": getattr(candidate, "num_groups", 0),
        "last": kind in ("batch", "group", "instance"),
    }


def differentiate(call, leaves, constants, dy):
    """Return y and the gradients of sum(y*dy), by mx.vjp."""
    import mlx.core as mx

    given, fixed = _theirs(leaves), _theirs(constants)

    def run(*values):
        return first_of(call(dict(fixed, **dict(zip(given, values)))))

    y = run(*given.values())
    if dy is None:
        return np.array(y), {}
    upstream = _own(dy).astype(y.dtype)
    _, found = mx.vjp(run, list(given.values()), [upstream])
    return np.array(y), {role: np.array(g) for role, g in zip(given, found)}


def higher(call, leaves, constants, dy, along):
    """Return the last of the gradients of the gradient."""
    import mlx.core as mx

    given, fixed = _theirs(dict(leaves, dy=dy)), _theirs(constants)

    def total(arrays):
        arrays = dict(arrays)
        upstream = arrays.pop("dy")
        y = first_of(call(dict(fixed, **arrays)))
        return (y * upstream.astype(y.dtype)).sum()

    reached = total
    for direction in along:
        reached = _slope_along(reached, _own(direction))
    return {role: np.array(g) for role, g in mx.grad(reached)(given).items()}


def _slope_along(function, direction):
    """Return the function whose value is that of a function's gradient by x along a direction."""
    import mlx.core as mx

    return lambda arrays: (direction * mx.grad(function)(arrays)["x"]).sum()


def take_step(step, constants, leaves, dy, train):
    """Return the state after a call. A backward pass does not change it."""
    moved = step(_theirs(dict(constants, **leaves)), train)
    return {name: np.array(value) for name, value in moved.items()}


def _theirs(arrays):
    return {name: _own(value) for name, value in arrays.items()}


def _own(value):
    """Return MLX's array of NumPy's; without the dtype it would make float32 of float64."""
    import mlx.core as mx

    return mx.array(value, dtype=mx.float64 if value.dtype == np.float64 else None)

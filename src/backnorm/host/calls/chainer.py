"""How links and functions of Chainer are called and differentiated.

Plain: see `backnorm.host.specs`.
"""

import copy

import numpy as np

from .. import defaults
from ..names import role_of
from ..runners import first_of
from . import listed

__all__ = ["LAYERS", "differentiate", "higher", "layer", "layer_classes", "layers"]


def layer_classes():
    """Return the classes of layers."""
    import chainer

    return (chainer.Link,)


LAYERS = (
    ("BatchNormalization", "batch", [4]),
    ("BatchRenormalization", "batch", [4]),
    ("LayerNormalization", "layer", [6]),
    ("GroupNormalization", "group", [2, 4]),
)
"""Names, kinds and arguments. DecorrelatedBatchNormalization does not belong to the five kinds."""


def layers():
    """Return all normalization layers."""
    from chainer import links

    return listed("chainer.links", links, LAYERS)


def layer(candidate, kind, train):
    """Return the layer spec of a link in one mode."""
    import chainer

    link, start = copy.deepcopy(candidate), {}
    for name in link._persistent:
        value, role = np.asarray(getattr(link, name)), role_of(name)
        running = role.startswith("running_")
        start[name] = defaults.running(role, value.size).reshape(value.shape) if running else value
    named = {role_of(name.rpartition("/")[2]): name.strip("/") for name, _ in link.namedparams()}
    named = {role: named[role] for role in ("gamma", "beta") if role in named}

    def filled(arrays):
        fresh = copy.deepcopy(link)
        for name, value in start.items():
            new = arrays[name]
            # A count is a number, which a link adds to.
            setattr(fresh, name, new.copy() if value.ndim else new.item())
        for role in set(named).intersection(arrays):
            # A variable in the place of a parameter, so that its gradient reaches the leaf.
            object.__setattr__(fresh, named[role], arrays[role])
        return fresh

    def call(arrays):
        with chainer.using_config("train", train):
            return filled(arrays)(arrays["x"])

    def take_step(constants, leaves, dy, training):
        made = []

        def run(arrays):
            made.append(filled(arrays))
            with chainer.using_config("train", training):
                return made[0](arrays["x"])

        differentiate(run, leaves, constants, dy)
        return {name: np.asarray(getattr(made[0], name)) for name in start}

    shapes = [getattr(link, name).shape for name in named.values()]
    return {
        "call": call,
        "state": start,
        "take_step": take_step,
        "shape": shapes[0] if shapes else (defaults.CHANNELS[kind],),
        "gamma": "gamma" in named,
        "beta": "beta" in named,
        "groups": getattr(candidate, "groups", 0),
    }


def differentiate(call, leaves, constants, dy):
    """Return y and the gradients of sum(y*dy), by Chainer's own graph."""
    import chainer

    given = {role: chainer.Variable(value) for role, value in leaves.items()}
    y = call(dict(constants, **given))
    y = first_of(y)
    if dy is None:
        return y.array.copy(), {}
    y.grad = dy.astype(y.dtype)
    y.backward()
    return y.array.copy(), {role: v.grad.copy() for role, v in given.items() if v.grad is not None}


def higher(call, leaves, constants, dy, along):
    """Return the last of the gradients of the gradient."""
    import chainer

    given = {role: chainer.Variable(value) for role, value in dict(leaves, dy=dy).items()}
    y = call(dict(constants, **{role: given[role] for role in leaves}))
    y = first_of(y)
    total = chainer.functions.sum(y * given["dy"])
    for direction in along:
        (slope,) = chainer.grad([total], [given["x"]], enable_double_backprop=True)
        if slope is None:
            return {}
        total = chainer.functions.sum(slope * direction)
    found = chainer.grad([total], list(given.values()))
    return {role: g.array.copy() for role, g in zip(given, found) if g is not None}

"""How layers and functions of PaddlePaddle are called and differentiated.

Plain: see `backnorm.host.specs`.
"""

import copy

from .. import defaults
from ..names import role_of
from ..runners import first_of
from . import listed

__all__ = ["LAYERS", "differentiate", "higher", "layer", "layer_classes", "layers"]


def layer_classes():
    """Return the classes of layers."""
    import paddle

    return (paddle.nn.Layer,)


LAYERS = (
    ("BatchNorm1D", "batch", [4]),
    ("BatchNorm2D", "batch", [4]),
    ("BatchNorm3D", "batch", [4]),
    ("LayerNorm", "layer", [6]),
    ("GroupNorm", "group", [2, 4]),
    ("InstanceNorm1D", "instance", [4]),
    ("InstanceNorm2D", "instance", [4]),
    ("InstanceNorm3D", "instance", [4]),
    ("RMSNorm", "rms", [6]),
)
"""Names, kinds and arguments. SpectralNorm normalizes weights, LocalResponseNorm sums over
neighbours."""


def layers():
    """Return all normalization layers."""
    from paddle import nn

    return listed("paddle.nn", nn, LAYERS)


def layer(candidate, kind, train):
    """Return the layer spec of a layer in one mode."""
    import paddle

    start = {}
    for name, buffer in _arrays(candidate):
        role = {"_mean": "running_mean", "_variance": "running_var"}.get(name.rpartition(".")[2])
        if role:
            start[name] = defaults.running(role, int(buffer.size)).reshape(buffer.shape)
    named = {}
    for name, _ in candidate.named_parameters():
        role = {"scale": "gamma"}.get(name) or role_of(name)
        named.setdefault(role, name)
    named = {role: named[role] for role in ("gamma", "beta") if role in named}

    def filled(leaves, constants, training):
        fresh = copy.deepcopy(candidate)
        fresh.train() if training else fresh.eval()
        if str(leaves["x"].dtype) == "float64":
            fresh.to(dtype="float64")
        for name, buffer in _arrays(fresh):
            if name in constants:
                buffer.set_value(constants[name].astype(_format(buffer)))
        owned = dict(fresh.named_parameters())
        given = {role: owned[name] for role, name in named.items()}
        for role in set(given).intersection(leaves):
            value = leaves[role].reshape(given[role].shape)
            given[role].set_value(value.astype(_format(given[role])))
        return fresh, dict(given, x=paddle.to_tensor(leaves["x"], stop_gradient=False))

    def differentiate(_, leaves, constants, dy):
        fresh, given = filled(leaves, constants, train)
        return _gradients(fresh(given["x"]), given, dy)

    def deeper(_, leaves, constants, dy, along):
        fresh, given = filled(leaves, constants, train)
        return _higher(fresh(given["x"]), given, dy, along)

    def take_step(constants, leaves, dy, training):
        fresh, given = filled(leaves, constants, training)
        _gradients(fresh(given["x"]), given, dy)
        return {name: array.numpy() for name, array in _arrays(fresh) if name in constants}

    shapes = [tuple(p.shape) for n, p in candidate.named_parameters() if n in named.values()]
    return {
        "call": None,
        "differentiate": differentiate,
        "higher": deeper,
        "state": start,
        "take_step": take_step,
        "shape": shapes[0] if shapes else (defaults.CHANNELS[kind],),
        "gamma": "gamma" in named,
        "beta": "beta" in named,
        "groups": getattr(candidate, "_num_groups", 0),
    }


def _arrays(layer):
    """Return names and arrays; running statistics are parameters that are not trained."""
    return list(layer.named_buffers()) + list(layer.named_parameters())


def differentiate(call, leaves, constants, dy):
    """Return y and the gradients of sum(y*dy)."""
    import paddle

    given = {role: paddle.to_tensor(v, stop_gradient=False) for role, v in leaves.items()}
    fixed = {role: paddle.to_tensor(v) for role, v in constants.items()}
    return _gradients(call(dict(fixed, **given)), given, dy)


def higher(call, leaves, constants, dy, along):
    """Return the last of the gradients of the gradient."""
    import paddle

    given = {role: paddle.to_tensor(v, stop_gradient=False) for role, v in leaves.items()}
    fixed = {role: paddle.to_tensor(v) for role, v in constants.items()}
    return _higher(call(dict(fixed, **given)), given, dy, along)


def _higher(y, given, dy, along):
    import paddle

    y = first_of(y)
    upstream = paddle.to_tensor(dy.astype(_format(y)), stop_gradient=False)
    total = (y * upstream).sum()
    for direction in along:
        (slope,) = paddle.grad([total], [given["x"]], create_graph=True, allow_unused=True)
        if slope is None or slope.stop_gradient:
            return {}
        total = (slope * paddle.to_tensor(direction)).sum()
    given = dict(given, dy=upstream)
    found = paddle.grad([total], list(given.values()), allow_unused=True)
    return {role: g.numpy() for role, g in zip(given, found) if g is not None}


def _gradients(y, given, dy):
    import paddle

    y = first_of(y)
    if dy is None:
        return y.numpy(), {}
    upstream = paddle.to_tensor(dy.astype(_format(y)))
    found = paddle.grad([y], list(given.values()), [upstream], allow_unused=True)
    return y.numpy(), {role: g.numpy() for role, g in zip(given, found) if g is not None}


def _format(tensor):
    return str(tensor.dtype).rpartition(".")[2]

"""How blocks and operators of MXNet are called and differentiated.

Plain: see `backnorm.host.specs`.
"""

import numpy as np

from .. import defaults
from ..names import role_of
from ..runners import first_of

__all__ = [
    "BLOCKS",
    "OPERATORS",
    "differentiate",
    "grouped",
    "higher",
    "layer",
    "layer_classes",
    "layers",
]


def layer_classes():
    """Return the classes of layers."""
    import mxnet

    return (mxnet.gluon.Block,)


BLOCKS = (
    ("nn.BatchNorm", "batch", {"in_channels": 4}),
    ("nn.BatchNorm", "batch", {"in_channels": 4, "scale": False}),
    ("nn.LayerNorm", "layer", {"in_channels": 6}),
    ("nn.GroupNorm", "group", {"num_groups": 2}),
    ("nn.InstanceNorm", "instance", {"in_channels": 4, "scale": True}),
    ("contrib.nn.SyncBatchNorm", "batch", {"in_channels": 4, "num_devices": 1}),
)

OPERATORS = (
    ("BatchNorm", "batch", {"fix_gamma": False}),
    ("LayerNorm", "layer", {}),
    ("InstanceNorm", "instance", {}),
)
"""Names, kinds and arguments. L2Normalization and LRN do not belong to the five kinds."""


def layers():
    """Return all normalization layers: blocks of gluon, and operators."""
    import mxnet

    found = []
    for name, kind, arguments in BLOCKS:
        owner = mxnet.gluon
        for part in name.split("."):
            owner = getattr(owner, part, None)
        fixed = ", scale=False" if arguments.get("scale") is False else ""
        if owner is not None:
            found.append(("mxnet.gluon.%s%s" % (name, fixed), kind, owner, arguments))
    for name, kind, arguments in OPERATORS:
        operator = getattr(mxnet.nd, name, None)
        if operator is not None:
            found.append(("mxnet.nd." + name, kind, operator, arguments))
    if hasattr(mxnet.nd, "GroupNorm"):
        found.append(("mxnet.nd.GroupNorm", "instance", grouped, None))
    return found


def grouped(x, gamma, beta):
    """Normalize groups of channels: MXNet has one gamma a group, so that each is an instance."""
    import mxnet

    flat = x.reshape((x.shape[0], -1) + tuple(x.shape[3:]))
    return mxnet.nd.GroupNorm(flat, gamma, beta, num_groups=x.shape[1]).reshape(x.shape)


def layer(candidate, kind, train):
    """Return the layer spec of a block in one mode."""
    import mxnet

    length = defaults.CHANNELS[kind]
    candidate.initialize(force_reinit=True)
    with mxnet.autograd.pause():
        candidate(mxnet.nd.ones((2, length, 2)[: 2 if kind in ("layer", "rms") else 3]))
    parameters = candidate._collect_params_with_prefix()
    trained, state = {}, {}
    for name, parameter in parameters.items():
        role = role_of(name)
        if role in ("gamma", "beta") and parameter.grad_req != "null":
            trained.setdefault(role, parameter)
        elif role.startswith("running_"):
            start = defaults.running(role, int(np.prod(parameter.shape)))
            state[name] = start.reshape(parameter.shape)

    def fill(leaves, constants):
        candidate.cast(str(leaves["x"].dtype))
        values = [(parameters[name], value) for name, value in constants.items()]
        given = [(p, leaves[role]) for role, p in trained.items() if role in leaves]
        values += [(parameter, value.reshape(parameter.shape)) for parameter, value in given]
        for parameter, value in values:
            parameter.set_data(_own(value, parameter.dtype))
        return {"x": _own(leaves["x"])}

    def called(arrays):
        return candidate(arrays["x"])

    def differentiate(_, leaves, constants, dy):
        y, found = _recorded(called, fill(leaves, constants), dy, train)
        for role, parameter in trained.items():
            found[role] = parameter.grad().asnumpy()
        return y, (found if dy is not None else {})

    def higher(_, leaves, constants, dy, along):
        given = fill(leaves, constants)
        given.update((role, parameter.data()) for role, parameter in trained.items())
        return _deeper(called, given, dy, along, train)

    def take_step(constants, leaves, dy, training):
        _recorded(called, fill(leaves, constants), dy, training)
        return {name: parameters[name].data().asnumpy() for name in constants}

    shapes = [parameter.shape for parameter in trained.values()] or [(length,)]
    return {
        "call": called,
        "differentiate": differentiate,
        "higher": higher,
        "state": state,
        "take_step": take_step,
        "shape": shapes[0],
        "gamma": "gamma" in trained,
        "beta": "beta" in trained,
        "groups": getattr(candidate, "_num_groups", 0),
    }


def differentiate(call, leaves, constants, dy):
    """Return y and the gradients of sum(y*dy), by MXNet's record of a function."""
    given = {role: _own(value) for role, value in leaves.items()}
    fixed = {role: _own(value) for role, value in constants.items()}
    return _recorded(lambda arrays: call(dict(fixed, **arrays)), given, dy, True)


def higher(call, leaves, constants, dy, along):
    """Return the last of the gradients of the gradient."""
    given = {role: _own(value) for role, value in leaves.items()}
    fixed = {role: _own(value) for role, value in constants.items()}
    return _deeper(lambda arrays: call(dict(fixed, **arrays)), given, dy, along, True)


def _deeper(call, given, dy, along, train):
    from mxnet import autograd

    given = dict(given, dy=_own(dy))
    for value in given.values():
        value.attach_grad()
    with autograd.record(train_mode=train):
        y = call({role: value for role, value in given.items() if role != "dy"})
        y = first_of(y)
        total = (y * given["dy"]).sum()
        for direction in along:
            (slope,) = autograd.grad(
                total, [given["x"]], create_graph=True, retain_graph=True, train_mode=train
            )
            total = (slope * _own(direction)).sum()
    total.backward(train_mode=train)
    return {role: value.grad.asnumpy() for role, value in given.items()}


def _own(value, dtype=None):
    """Return MXNet's array of NumPy's."""
    import mxnet

    return mxnet.nd.array(value, dtype=dtype or value.dtype)


def _recorded(call, given, dy, train):
    import mxnet

    for value in given.values():
        value.attach_grad()
    with mxnet.autograd.record(train_mode=train):
        y = call(given)
        y = first_of(y)
    if dy is None:
        return y.asnumpy(), {}
    mxnet.autograd.backward([y], [mxnet.nd.array(dy, dtype=y.dtype)], train_mode=train)
    return y.asnumpy(), {role: value.grad.asnumpy() for role, value in given.items()}

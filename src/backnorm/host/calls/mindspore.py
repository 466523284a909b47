"""How cells and functions of MindSpore are called and differentiated.

Plain: see `backnorm.host.specs`.
"""

from .. import defaults
from ..names import role_of
from ..runners import first_of
from . import listed

__all__ = ["LAYERS", "differentiate", "higher", "layer", "layer_classes", "layers"]


def layer_classes():
    """Return the classes of layers."""
    from mindspore import nn

    return (nn.Cell,)


LAYERS = (
    ("BatchNorm1d", "batch", [4]),
    ("BatchNorm2d", "batch", [4]),
    ("BatchNorm3d", "batch", [4]),
    ("LayerNorm", "layer", {"normalized_shape": [6]}),
    ("GroupNorm", "group", [2, 4]),
)
"""Names, kinds and arguments. InstanceNorm runs on other devices than the CPU only, and
SyncBatchNorm is BatchNorm where there is one device."""


def layers():
    """Return all normalization layers."""
    from mindspore import nn

    return listed("mindspore.nn", nn, LAYERS)


def layer(candidate, kind, train):
    """Return the layer spec of a cell in one mode."""
    import mindspore

    parameters = dict(candidate.parameters_and_names())
    start, named = {}, {}
    for name, parameter in parameters.items():
        role = role_of(name)
        if role.startswith("running_"):
            start[name] = defaults.running(role, parameter.size).reshape(parameter.shape)
        elif role in ("gamma", "beta") and parameter.requires_grad:
            named.setdefault(role, name)
    weights = mindspore.ParameterTuple([parameters[name] for name in named.values()])

    def fill(leaves, constants, training):
        candidate.set_train(training)
        given = [(name, leaves[role]) for role, name in named.items() if role in leaves]
        for name, value in given + list(constants.items()):
            parameter = parameters[name]
            parameter.set_data(mindspore.Tensor(value.reshape(parameter.shape), parameter.dtype))
        return {"x": mindspore.Tensor(leaves["x"])}

    def called(arrays):
        return candidate(arrays["x"])

    def differentiate(_, leaves, constants, dy):
        return _gradients(called, fill(leaves, constants, train), dy, named, weights)

    def deeper(_, leaves, constants, dy, along):
        return _higher(called, fill(leaves, constants, train), dy, along, named, weights)

    def take_step(constants, leaves, dy, training):
        _gradients(called, fill(leaves, constants, training), dy, named, weights)
        return {name: parameters[name].asnumpy().copy() for name in start}

    shapes = [parameters[name].shape for name in named.values()]
    return {
        "call": called,
        "differentiate": differentiate,
        "higher": deeper,
        "state": start,
        "take_step": take_step,
        "shape": shapes[0] if shapes else (defaults.CHANNELS[kind],),
        "gamma": "gamma" in named,
        "beta": "beta" in named,
        "groups": getattr(candidate, "num_groups", 0),
        # Parameters are float32, whatever x is.
        "dtypes": ("float32",),
    }


def differentiate(call, leaves, constants, dy):
    """Return y and the gradients of sum(y*dy)."""
    fixed = _tensors(constants)
    return _gradients(lambda arrays: call(dict(fixed, **arrays)), _tensors(leaves), dy)


def higher(call, leaves, constants, dy, along):
    """Return the last of the gradients of the gradient."""
    fixed = _tensors(constants)
    return _higher(lambda arrays: call(dict(fixed, **arrays)), _tensors(leaves), dy, along)


def _gradients(call, given, dy, named=(), weights=None):
    """Differentiate by the tensors of ``given``, and by the parameters of the roles ``named``."""
    import mindspore

    if dy is None:
        return first_of(call(given)).asnumpy().copy(), {}

    def total(*values):
        y = first_of(call(dict(zip(given, values))))
        return (y * mindspore.Tensor(dy).astype(y.dtype)).sum(), y

    places = tuple(range(len(given)))
    run = mindspore.value_and_grad(total, places, weights or None, has_aux=True)
    (_, y), found = _ran(run, given)
    return y.asnumpy().copy(), _by_role(found, list(given), named)


def _higher(call, given, dy, along, named=(), weights=None):
    import mindspore

    given = dict(given, dy=mindspore.Tensor(dy))

    def total(*values):
        arrays = dict(zip(given, values))
        upstream = arrays.pop("dy")
        return (first_of(call(arrays)) * upstream).sum()

    reached, place = total, list(given).index("x")
    for direction in along:
        reached = _slope_along(reached, place, mindspore.Tensor(direction))
    run = mindspore.grad(reached, tuple(range(len(given))), weights or None)
    return _by_role(_ran(run, given), list(given), named)


def _slope_along(function, place, direction):
    """Return the function whose value is that of a function's gradient by x along a direction."""
    import mindspore

    return lambda *values: (direction * mindspore.grad(function, place)(*values)).sum()


def _ran(run, given):
    """Run a derivative.

    After one that raised, MindSpore 2.10.0 takes the next derivative for one of higher order, which
    some operators do not have, unless it is told to forget.
    """
    try:
        return run(*given.values())
    except Exception:
        from mindspore.common import api

        api._pynative_executor.clear_res()
        raise


def _by_role(found, roles, named):
    """Return arrays by role: those by parameters come behind the others, one alone as it is."""
    by_inputs, by_weights = found if named else (found, ())
    by_inputs = by_inputs if isinstance(by_inputs, tuple) else (by_inputs,)
    pairs = list(zip(roles, by_inputs)) + list(zip(named, by_weights))
    return {role: gradient.asnumpy().copy() for role, gradient in pairs}


def _tensors(arrays):
    import mindspore

    return {name: mindspore.Tensor(value) for name, value in arrays.items()}

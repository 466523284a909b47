"""How layers of Keras 3 are called, on whichever backend it runs.

Plain: see `backnorm.host.specs`.
"""

from .. import defaults
from ..names import mode_arguments, role_of

__all__ = ["BACKENDS", "LAYERS", "VARIABLE", "base", "build", "layer", "layer_classes", "layers"]

BACKENDS = ("jax", "tensorflow", "torch")
"""Packages that Keras can run on and that differentiate."""

VARIABLE = "KERAS_BACKEND"
"""The environment variable that chooses one, for a whole process."""


def base():
    """The backend differentiates."""
    import keras

    return keras.backend.backend()


def layer_classes():
    """Return the classes of layers."""
    import keras

    return (keras.layers.Layer,)


LAYERS = (
    ("BatchNormalization", "batch", {}),
    ("LayerNormalization", "layer", {}),
    ("GroupNormalization", "group", {"groups": 2}),
    ("GroupNormalization", "instance", {"groups": -1}),
    ("RMSNormalization", "rms", {}),
)
"""Names, kinds and arguments. UnitNormalization divides by a norm, SpectralNormalization normalizes
weights, and Normalization has constants: they do not belong to the five kinds."""


def layers():
    """Return all normalization layers."""
    import keras

    found = []
    for name, kind, arguments in LAYERS:
        cls = getattr(keras.layers, name, None)
        if cls is not None:
            each = ", groups=-1" if arguments.get("groups") == -1 else ""
            title = "keras.layers.%s%s on %s" % (name, each, keras.backend.backend())
            found.append((title, kind, cls, arguments))
    return found


def build(cls, arguments):
    """Construct a layer: without arguments, since Keras takes sizes from its input."""
    return cls(**arguments) if isinstance(arguments, dict) else cls()


def layer(candidate, kind, train):
    """Return the layer spec of a layer in one mode."""
    import keras
    import numpy as np

    built = {}

    def fresh(x):
        key = keras.backend.standardize_dtype(x.dtype), len(x.shape), x.shape[-1]
        if key not in built:
            config = dict(candidate.get_config(), dtype=key[0])
            one = type(candidate).from_config(config)
            one.build(tuple(x.shape))
            built[key] = one
        return built[key]

    def applied(arrays, training):
        x = arrays["x"]
        module = fresh(x)
        weights = [_filled(v, arrays) for v in module.trainable_variables]
        modes = mode_arguments(type(candidate).call, training)
        return module.stateless_call(weights, [arrays[name] for name in names], x, **modes)

    length = defaults.CHANNELS[kind]
    first = fresh(np.ones((2, length), "float32"))
    named = {role_of(v.name) for v in first.trainable_variables}
    names = _names(first.non_trainable_variables)
    groups = getattr(candidate, "groups", 0)
    return {
        "call": lambda arrays: applied(arrays, train)[0],
        "step": lambda arrays, training: dict(zip(names, applied(arrays, training)[1])),
        "state": {name: _start(v) for name, v in zip(names, first.non_trainable_variables)},
        "shape": (length,),
        "gamma": "gamma" in named,
        "beta": "beta" in named,
        "groups": groups if kind == "group" and groups > 0 else 0,
        "last": kind in ("batch", "group", "instance"),
    }


def _filled(variable, arrays):
    import keras

    role = role_of(variable.name)
    if role in arrays:
        return keras.ops.reshape(arrays[role], tuple(variable.shape))
    return variable.value


def _names(variables):
    """Return the names of variables; with a number, where a layer has several of a name."""
    found = []
    for variable in variables:
        same = sum(name.rpartition(".")[2] == variable.name for name in found)
        found.append("%d.%s" % (same + 1, variable.name) if same else variable.name)
    return found


def _start(variable):
    """Return where a variable starts: running statistics at those that no batch has."""
    import keras

    role = role_of(variable.name)
    if role.startswith("running_"):
        return defaults.running(role, int(variable.shape[0]))
    return keras.ops.convert_to_numpy(variable.value)

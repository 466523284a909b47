"""How layers of Flax are called, linen and nnx. Plain: see `backnorm.host.specs`."""

import inspect

from .. import defaults
from ..names import mode_arguments, role_of, takes_mask
from . import listed, own
from .jax import alone, axes_in

__all__ = ["LAYERS", "base", "build", "layer", "layer_classes", "layers"]


def base():
    """JAX differentiates."""
    return "jax"


def layer_classes():
    """Return the classes of layers."""
    from flax import linen

    found = [linen.Module]
    try:
        from flax import nnx

        found.append(nnx.Module)
    except ImportError:
        pass
    return found


LAYERS = (
    ("BatchNorm", "batch", {}, {"num_features": 4}),
    ("LayerNorm", "layer", {}, {"num_features": 6}),
    ("GroupNorm", "group", {"num_groups": 2}, {"num_features": 4, "num_groups": 2}),
    ("InstanceNorm", "instance", {}, {"num_features": 4}),
    ("RMSNorm", "rms", {}, {"num_features": 6}),
)
"""Names, kinds, and arguments in linen and in nnx. WeightNorm, SpectralNorm normalize weights."""


def layers():
    """Return all normalization layers."""
    import flax

    found = []
    for name, kind, of_linen, of_nnx in LAYERS:
        for part, arguments in (("linen", of_linen), ("nnx", of_nnx)):
            owner = getattr(flax, part, None) or __import__("flax." + part, fromlist=[part])
            cls = getattr(owner, name, None)
            if cls is not None:
                found.append(("flax.%s.%s" % (part, name), kind, cls, arguments))
    for part, row in (("linen", LAYERS[0][:3]), ("nnx", LAYERS[0][:2] + LAYERS[0][3:])):
        found += listed("backnorm.jax.layers." + part, own("jax.layers." + part), (row,))
    return found


def build(cls, arguments):
    """Construct a layer; those of nnx want random numbers too."""
    from flax import linen

    if issubclass(cls, linen.Module):
        # Without features: linen takes them from its input.
        return cls(**arguments) if isinstance(arguments, dict) else cls()
    from flax import nnx

    if isinstance(arguments, dict):
        return cls(**dict({"rngs": nnx.Rngs(0)}, **arguments))
    return cls(*[a for a in arguments], rngs=nnx.Rngs(0))


def layer(candidate, kind, train):
    """Return the layer spec of a layer in one mode."""
    from flax import linen

    if isinstance(candidate, linen.Module):
        return _linen(candidate, kind, train)
    return _nnx(candidate, kind, train)


def _linen(module, kind, train):
    import jax
    from jax import numpy as jnp

    length = defaults.CHANNELS[kind]

    def variables(x):
        made = module.init(jax.random.PRNGKey(0), x, **mode_arguments(called, train))
        return {key: made[key] for key in made}

    called, axes = type(module).__call__, axes_in(getattr(module, "axis_name", None))
    first = alone(variables, axes)(jnp.ones((2, length)))

    def applied(arrays, training):
        x = arrays["x"]
        filled = _filled(variables(jnp.zeros(x.shape, x.dtype)), arrays)
        changing = [key for key in filled if key != "params"]
        modes = dict(mode_arguments(called, training), **_masks(arrays))
        return module.apply(filled, x, mutable=changing, **modes)

    def step(arrays, training):
        return _state(applied(arrays, training)[1])

    named = _names_in(first)
    return {
        "call": lambda arrays: applied(arrays, train)[0],
        "step": step,
        "state": _start({key: first[key] for key in first if key != "params"}),
        "axis_names": axes,
        "mask": takes_mask(called),
        "shape": (length,),
        "gamma": "gamma" in named,
        "beta": "beta" in named,
        "groups": getattr(module, "num_groups", 0) if kind == "group" else 0,
        "last": kind in ("batch", "group", "instance"),
    }


def _masks(arrays):
    """Return the arguments that say what counts of x."""
    return {"mask": arrays["mask"]} if "mask" in arrays else {}


def _last(path):
    """Return the name of a leaf: the last key of its path that is one."""
    names = [getattr(key, "key", getattr(key, "name", None)) for key in path]
    return [name for name in names if isinstance(name, str) and name != "value"][-1]


def _role(name):
    """Return the role of a variable; Flax calls running statistics mean and var."""
    known = {"mean": "running_mean", "var": "running_var"}
    return known.get(name) or role_of(name)


def _filled(variables, arrays):
    """Put gamma, beta and the state in the place of variables."""
    import jax

    def value(path, old):
        role = _role(_last(path))
        new = arrays.get(_dotted(path), arrays.get(role) if role in ("gamma", "beta") else None)
        return old if new is None else new.reshape(old.shape)

    return jax.tree_util.tree_map_with_path(value, variables)


def _dotted(path):
    """Return the name of a leaf in the state, which no role has."""
    names = [str(getattr(key, "key", getattr(key, "name", None))) for key in path]
    return ".".join(name for name in names if name != "value")


def _state(variables):
    """Return variables by their names."""
    import jax

    leaves = jax.tree_util.tree_flatten_with_path(variables)[0]
    return {_dotted(path): value for path, value in leaves}


def _start(variables):
    """Return the state that calls start from, with running statistics that no batch has."""
    import jax
    import numpy as np

    def value(path, old):
        role = _role(_last(path))
        start = defaults.running(role, old.size) if role.startswith("running_") else old
        return np.reshape(np.asarray(start), old.shape)

    return _state(jax.tree_util.tree_map_with_path(value, variables))


def _names_in(variables):
    import jax

    paths = jax.tree_util.tree_flatten_with_path(variables)[0]
    return {_role(_last(path)) for path, _ in paths}


def _nnx(module, kind, train):
    import jax
    from flax import nnx

    graph, trained, kept, others = nnx.split(module, nnx.Param, nnx.BatchStat, ...)
    length = defaults.CHANNELS[kind]
    shapes = [value.shape for value in jax.tree_util.tree_leaves(nnx.state(module, nnx.Param))]
    if shapes:
        length = shapes[0][0]

    # Versions before 0.11 have no `copy`, and always make new variables.
    copy = {"copy": True} if "copy" in inspect.signature(nnx.merge).parameters else {}

    def made(arrays, training):
        parameters = {role: arrays[role] for role in ("gamma", "beta") if role in arrays}
        old = {key.partition(".")[2]: value for key, value in arrays.items()}
        filled = [_filled(trained, parameters), _filled(kept, old)]
        fresh = nnx.merge(graph, *filled, others, **copy)
        fresh.train() if training else fresh.eval()
        return fresh

    def step(arrays, training):
        fresh = made(arrays, training)
        fresh(arrays["x"])
        return in_collection(_state(nnx.state(fresh, nnx.BatchStat)))

    def in_collection(found):
        # As in linen, where a name tells what it is of.
        return {"batch_stats." + name: value for name, value in found.items()}

    named = _names_in(trained)
    return {
        "call": lambda arrays: made(arrays, train)(arrays["x"], **_masks(arrays)),
        "step": step,
        "state": in_collection(_start(kept)),
        "axis_names": axes_in(getattr(module, "axis_name", None)),
        "mask": takes_mask(type(module).__call__),
        "shape": (length,),
        "gamma": "gamma" in named,
        "beta": "beta" in named,
        "groups": getattr(module, "num_groups", 0) if kind == "group" else 0,
        "last": kind in ("batch", "group", "instance"),
    }

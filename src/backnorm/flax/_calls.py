"""How layers of Flax are called, linen and nnx. Plain: see `backnorm.host.specs`."""

FRAMEWORK = "flax"


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


def layers(tools):
    """Return all normalization layers."""
    import flax

    found = []
    for name, kind, of_linen, of_nnx in LAYERS:
        for part, arguments in (("linen", of_linen), ("nnx", of_nnx)):
            owner = getattr(flax, part, None) or __import__("flax." + part, fromlist=[part])
            cls = getattr(owner, name, None)
            if cls is not None:
                found.append(("flax.%s.%s" % (part, name), kind, cls, arguments))
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


def layer(candidate, kind, train, tools):
    """Return the facts of a layer in one mode."""
    from flax import linen

    if isinstance(candidate, linen.Module):
        return _linen(candidate, kind, train, tools)
    return _nnx(candidate, kind, train, tools)


def _linen(module, kind, train, tools):
    import jax
    from jax import numpy as jnp

    modes = tools.mode_arguments(type(module).__call__, train)
    length = tools.CHANNELS[kind]

    def variables(x):
        made = module.init(jax.random.PRNGKey(0), x, **modes)
        return {key: made[key] for key in made}

    def call(arrays):
        x = arrays["x"]
        plain = jnp.zeros(x.shape, x.dtype)
        filled = jax.tree_util.tree_map_with_path(
            lambda path, value: _filled(_last(path), value, arrays, tools), variables(plain)
        )
        changing = [key for key in filled if key != "params"]
        # In eval nothing changes: a layer that wrote its state would raise.
        y = module.apply(filled, x, mutable=changing if train else [], **modes)
        return y[0]

    named = _names_in(variables(jnp.ones((2, length))), tools)
    return {
        "call": call,
        "shape": (length,),
        "gamma": "gamma" in named,
        "beta": "beta" in named,
        "groups": getattr(module, "num_groups", 0) if kind == "group" else 0,
        "last": kind in ("batch", "group", "instance"),
    }


def _last(path):
    """Return the name of a leaf: the last key of its path that is one."""
    names = [getattr(key, "key", getattr(key, "name", None)) for key in path]
    return [name for name in names if isinstance(name, str) and name != "value"][-1]


def _role(name, tools):
    """Return the role of a variable; Flax calls running statistics mean and var."""
    known = {"mean": "running_mean", "var": "running_var"}
    return known.get(name) or tools.role_of(name)


def _filled(name, value, arrays, tools):
    """Return what stands in the place of a variable."""
    from jax import numpy as jnp

    role = _role(name, tools)
    if role in arrays and role in ("gamma", "beta"):
        return arrays[role].reshape(value.shape)
    if role.startswith("running_"):
        # In the format of x, as after training in it.
        dtype = arrays["x"].dtype
        return jnp.asarray(tools.running(role, value.size), dtype).reshape(value.shape)
    return value


def _names_in(variables, tools):
    import jax

    paths = jax.tree_util.tree_flatten_with_path(variables)[0]
    return {_role(_last(path), tools) for path, _ in paths}


def _nnx(module, kind, train, tools):
    import jax
    from flax import nnx

    graph, state = nnx.split(module)
    length = tools.CHANNELS[kind]
    shapes = [value.shape for value in jax.tree_util.tree_leaves(nnx.state(module, nnx.Param))]
    if shapes:
        length = shapes[0][0]

    def call(arrays):
        filled = jax.tree_util.tree_map_with_path(
            lambda path, value: _filled(_last(path), value, arrays, tools), state
        )
        fresh = nnx.merge(graph, filled, copy=True)
        fresh.train() if train else fresh.eval()
        return fresh(arrays["x"])

    named = _names_in(state, tools)
    return {
        "call": call,
        "shape": (length,),
        "gamma": "gamma" in named,
        "beta": "beta" in named,
        "groups": getattr(module, "num_groups", 0) if kind == "group" else 0,
        "last": kind in ("batch", "group", "instance"),
    }

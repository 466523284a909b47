"""How layers of Haiku are called. Plain: see `backnorm.host.specs`."""

import functools

FRAMEWORK = "haiku"


def base():
    """JAX differentiates."""
    return "jax"


def layer_classes():
    """Return the classes of layers, and what stands for a class with its arguments."""
    import haiku

    return (haiku.Module, functools.partial)


BOTH = {"create_scale": True, "create_offset": True}

LAYERS = (
    ("BatchNorm", "batch", dict(BOTH, decay_rate=0.9)),
    ("LayerNorm", "layer", dict(BOTH, axis=-1, param_axis=-1)),
    ("GroupNorm", "group", dict(BOTH, groups=2)),
    ("InstanceNorm", "instance", BOTH),
    ("RMSNorm", "rms", {"axis": -1}),
)
"""Names, kinds and arguments. SpectralNorm normalizes weights."""


def layers(tools):
    """Return all normalization layers."""
    import haiku

    known = ((name, kind, getattr(haiku, name, None), given) for name, kind, given in LAYERS)
    return [("haiku." + n, kind, cls, given) for n, kind, cls, given in known if cls is not None]


def build(cls, arguments):
    """Keep a class with its arguments: Haiku constructs within transformed functions only."""
    if isinstance(arguments, dict):
        return functools.partial(cls, **arguments)
    return functools.partial(cls)


def layer(candidate, kind, train, tools):
    """Return the facts of a layer in one mode."""
    import haiku
    import jax
    from jax import numpy as jnp

    modes = tools.mode_arguments(candidate.func.__call__, train)
    transformed = haiku.transform_with_state(lambda x: candidate()(x, **modes))
    # The running statistics are there after a step in training only.
    first = tools.mode_arguments(candidate.func.__call__, True)
    initial = haiku.transform_with_state(lambda x: candidate()(x, **first))
    length = tools.CHANNELS[kind]

    def call(arrays):
        x = arrays["x"]
        params, state = initial.init(jax.random.PRNGKey(0), jnp.zeros(x.shape, x.dtype))
        params = _filled(params, arrays, tools)
        return transformed.apply(params, _running(state, tools), None, x)[0]

    params, _ = initial.init(jax.random.PRNGKey(0), jnp.ones((2, 4, length)))
    named = {tools.role_of(name) for group in params.values() for name in group}
    return {
        "call": call,
        "shape": (length,),
        "gamma": "gamma" in named,
        "beta": "beta" in named,
        "groups": candidate.keywords.get("groups", 0) if kind == "group" else 0,
        "last": kind in ("batch", "group", "instance"),
    }


def _filled(params, arrays, tools):
    def value(name, old):
        role = tools.role_of(name)
        return (
            arrays[role].reshape(old.shape) if role in ("gamma", "beta") and role in arrays else old
        )

    return {
        module: {name: value(name, old) for name, old in group.items()}
        for module, group in params.items()
    }


def _running(state, tools):
    """Put running statistics in the state: Haiku keeps each in hidden, and without its bias."""
    from jax import numpy as jnp

    def value(module, old):
        part = module.rpartition("/")[2].replace("~", "").strip("_")
        role = {"mean_ema": "running_mean", "var_ema": "running_var"}.get(part)
        if role is None or not old.size or not jnp.issubdtype(old.dtype, jnp.floating):
            return old
        return jnp.asarray(tools.running(role, old.size), old.dtype).reshape(old.shape)

    return {
        module: {name: value(module, old) for name, old in group.items()}
        for module, group in state.items()
    }

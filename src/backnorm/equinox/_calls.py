"""How layers of Equinox are called. Plain: see `backnorm.host.specs`."""

FRAMEWORK = "equinox"


def base():
    """JAX differentiates."""
    return "jax"


def layer_classes():
    """Return the classes of layers."""
    import equinox

    return (equinox.Module,)


LAYERS = (
    ("BatchNorm", "batch", {"input_size": 4, "axis_name": "batch", "mode": "batch"}),
    ("BatchNorm", "batch", {"input_size": 4, "axis_name": "batch", "mode": "ema"}),
    ("LayerNorm", "layer", {"shape": 6}),
    ("GroupNorm", "group", {"groups": 2, "channels": 4}),
    ("RMSNorm", "rms", {"shape": 6}),
)
"""Names, kinds and arguments. SpectralNorm and WeightNorm normalize weights."""


def layers(tools):
    """Return all normalization layers."""
    from equinox import nn

    found = []
    for name, kind, arguments in LAYERS:
        cls = getattr(nn, name, None)
        mode = arguments.get("mode")
        title = "equinox.nn.%s%s" % (name, ", mode=%s" % mode if mode else "")
        if cls is not None:
            found.append((title, kind, cls, arguments))
    return found


def layer(candidate, kind, train, tools):
    """Return the facts of a layer in one mode; each layer of Equinox takes one sample."""
    import equinox
    import jax

    state = equinox.nn.State(candidate)
    stateful = bool(jax.tree_util.tree_leaves(state))
    modes = tools.mode_arguments(type(candidate).__call__, train)

    def call(arrays):
        filled = _filled(candidate, arrays)
        if not stateful:
            # Over every axis before those that a layer of one sample takes.
            run = lambda x: filled(x)  # noqa: E731, PLW0108 - vmap would hash the layer
            lead = arrays["x"].ndim - len(_shape(candidate, kind, tools))
            for _ in range(lead if kind in ("layer", "rms") else 1):
                run = jax.vmap(run)
            return run(arrays["x"])
        # A state may be used once only, so that each call takes a copy.
        leaves, structure = jax.tree_util.tree_flatten(state)
        leaves = [_in_format(leaf, arrays["x"].dtype) for leaf in leaves]
        kept = _running(filled, jax.tree_util.tree_unflatten(structure, leaves), tools)
        over = lambda x: filled(x, kept, **modes)  # noqa: E731 - a name for vmap
        return jax.vmap(over, axis_name=candidate.axis_name, out_axes=(0, None))(arrays["x"])[0]

    return {
        "call": call,
        "shape": _shape(candidate, kind, tools),
        "gamma": getattr(candidate, "weight", None) is not None,
        "beta": getattr(candidate, "bias", None) is not None,
        "groups": getattr(candidate, "groups", 0),
    }


def _in_format(leaf, dtype):
    """Return a value of the state in the format of x, as after training in it."""
    from jax import numpy as jnp

    return leaf.astype(dtype) if jnp.issubdtype(leaf.dtype, jnp.floating) else leaf


def _shape(candidate, kind, tools):
    weight = getattr(candidate, "weight", None)
    shape = getattr(candidate, "shape", None) if kind in ("layer", "rms") else None
    if shape is not None:
        return tuple(shape)
    if weight is not None:
        return tuple(weight.shape)
    return (getattr(candidate, "input_size", tools.CHANNELS[kind]),)


def _filled(module, arrays):
    import equinox

    for name, role in (("weight", "gamma"), ("bias", "beta")):
        if role in arrays and getattr(module, name, None) is not None:
            new = arrays[role].reshape(getattr(module, name).shape)
            module = equinox.tree_at(lambda m, name=name: getattr(m, name), module, new)
    return module


def _running(module, state, tools):
    """Put running statistics in the state, as after many steps."""
    from jax import numpy as jnp

    index = getattr(module, "ema_state_index", None)
    if index is None:
        index = getattr(module, "batch_state_index", None)
    if index is None:
        return state
    old = state.get(index)
    new = tuple(
        jnp.asarray(tools.running(role, one.size), one.dtype).reshape(one.shape)
        for role, one in zip(("running_mean", "running_var"), old)
    )
    state = state.set(index, new)
    if getattr(module, "ema_first_time_index", None) is not None:
        return state.set(module.ema_first_time_index, jnp.array(False))
    counter = getattr(module, "batch_counter", None)
    if counter is not None:
        # Hidden statistics after so many steps that their start has no weight left.
        return state.set(counter, jnp.full_like(state.get(counter), 1000))
    return state

"""How layers of Haiku are called. Plain: see `backnorm.host.specs`."""

import functools

from .. import defaults
from ..names import mode_arguments, role_of
from . import listed, own
from .jax import alone, axes_in

__all__ = ["BOTH", "LAYERS", "base", "build", "layer", "layer_classes", "layers"]


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


def layers():
    """Return all normalization layers."""
    import haiku

    ours = listed("backnorm.jax.layers.haiku", own("jax.layers.haiku"), LAYERS[:1])
    return listed("haiku", haiku, LAYERS) + ours


def build(cls, arguments):
    """Keep a class with its arguments: Haiku constructs within transformed functions only."""
    if isinstance(arguments, dict):
        return functools.partial(cls, **arguments)
    return functools.partial(cls)


def layer(candidate, kind, train):
    """Return the layer spec of a layer in one mode."""
    import haiku
    import jax
    from jax import numpy as jnp

    def transformed(training):
        modes = mode_arguments(candidate.func.__call__, training)
        return haiku.transform_with_state(lambda x: candidate()(x, **modes))

    given = candidate.keywords
    axes = axes_in(given.get("cross_replica_axis", given.get("axis_name")))
    length = defaults.CHANNELS[kind]
    # The running statistics are there after a step in training only.
    initial = transformed(True)

    def applied(arrays, training):
        x = arrays["x"]
        params, state = initial.init(jax.random.PRNGKey(0), jnp.zeros(x.shape, x.dtype))
        params, state = _filled(params, arrays), _kept(state, arrays)
        return transformed(training).apply(params, state, None, x)

    def step(arrays, training):
        state = applied(arrays, training)[1]
        return {_dotted(m, n): value for m, group in state.items() for n, value in group.items()}

    start = alone(lambda x: initial.init(jax.random.PRNGKey(0), x), axes)
    params, _ = start(jnp.ones((2, 4, length)))
    named = {role_of(name) for group in params.values() for name in group}
    return {
        "call": lambda arrays: applied(arrays, train)[0],
        "step": step,
        # After a batch with statistics that no other has: hidden averages and counts go together.
        "state": alone(step, axes)({"x": jnp.asarray(defaults.batch_of_running(length))}, True),
        "axis_names": axes,
        "shape": (length,),
        "gamma": "gamma" in named,
        "beta": "beta" in named,
        "groups": given.get("groups", 0) if kind == "group" else 0,
        "last": kind in ("batch", "group", "instance"),
    }


def _filled(params, arrays):
    def value(name, old):
        role = role_of(name)
        return (
            arrays[role].reshape(old.shape) if role in ("gamma", "beta") and role in arrays else old
        )

    return {
        module: {name: value(name, old) for name, old in group.items()}
        for module, group in params.items()
    }


def _dotted(module, name):
    """Return what to call a part of the state: mean_ema.average, var_ema.counter."""
    parts = [part for part in module.split("/")[1:] if part != "~"]
    return ".".join(parts + [name])


def _kept(state, arrays):
    """Put the state that is given in the place of the first."""
    return {
        module: {name: arrays.get(_dotted(module, name), old) for name, old in group.items()}
        for module, group in state.items()
    }

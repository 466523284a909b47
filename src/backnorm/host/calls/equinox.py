"""How layers of Equinox are called. Plain: see `backnorm.host.specs`."""

from .. import defaults
from ..names import mode_arguments
from . import own
from .jax import alone, axes_in

__all__ = ["LAYERS", "NAMES", "base", "layer", "layer_classes", "layers"]


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

OWN = "jax.layers.equinox"
"""Where backnorm has such layers, if an interpreter has it."""


def layers():
    """Return all normalization layers."""
    from equinox import nn

    found = []
    for home, owner in (("equinox.nn", nn), ("backnorm.jax.layers.equinox", own(OWN))):
        for name, kind, arguments in LAYERS:
            cls = getattr(owner, name, None)
            mode = arguments.get("mode")
            title = "%s.%s%s" % (home, name, ", mode=%s" % mode if mode else "")
            if cls is not None:
                found.append((title, kind, cls, arguments))
    return found


def layer(candidate, kind, train):
    """Return the layer spec of a layer in one mode; each layer of Equinox takes one sample."""
    import equinox
    import jax
    from jax import numpy as jnp

    first = equinox.nn.State(candidate)
    leaves, structure = jax.tree_util.tree_flatten(first)
    names = _names(candidate, first, leaves)

    # The last axis has the samples of a part, any before it the parts.
    *spread, samples = (*axes_in(getattr(candidate, "axis_name", None)),) or (None,)

    def plain(arrays):
        # Over every axis before those that a layer of one sample takes.
        filled = _filled(candidate, arrays)
        run = lambda x: filled(x)  # noqa: E731, PLW0108 - vmap would hash the layer
        lead = arrays["x"].ndim - len(_shape(candidate, kind))
        for _ in range(lead if kind in ("layer", "rms") else 1):
            run = jax.vmap(run)
        return run(arrays["x"])

    def applied(arrays, training):
        filled = _filled(candidate, arrays)
        # A state may be used once only, so that each call takes a copy.
        kept = jax.tree_util.tree_unflatten(structure, [arrays[name] for name in names])
        modes = mode_arguments(type(candidate).__call__, training)
        over = lambda x: filled(x, kept, **modes)  # noqa: E731 - a name for vmap
        return jax.vmap(over, axis_name=samples, out_axes=(0, None))(arrays["x"])

    def step(arrays, training):
        return dict(zip(names, jax.tree_util.tree_leaves(applied(arrays, training)[1])))

    start = dict(zip(names, leaves))
    if isinstance(candidate, equinox.nn.BatchNorm):
        # After a batch with statistics that no other has: hidden averages and counts go together.
        batch = defaults.batch_of_running(candidate.input_size)
        given = dict(start, x=jnp.asarray(batch.reshape(2, -1)))
        start = alone(step, spread)(given, True)
    return {
        "call": (lambda arrays: applied(arrays, train)[0]) if names else plain,
        "step": step,
        "state": start,
        "axis_names": tuple(spread),
        "shape": _shape(candidate, kind),
        "gamma": getattr(candidate, "weight", None) is not None,
        "beta": getattr(candidate, "bias", None) is not None,
        "groups": getattr(candidate, "groups", 0),
    }


def _shape(candidate, kind):
    weight = getattr(candidate, "weight", None)
    shape = getattr(candidate, "shape", None) if kind in ("layer", "rms") else None
    if shape is not None:
        return tuple(shape)
    if weight is not None:
        return tuple(weight.shape)
    return (getattr(candidate, "input_size", defaults.CHANNELS[kind]),)


def _filled(module, arrays):
    import equinox

    for name, role in (("weight", "gamma"), ("bias", "beta")):
        if role in arrays and getattr(module, name, None) is not None:
            new = arrays[role].reshape(getattr(module, name).shape)
            module = equinox.tree_at(lambda m, name=name: getattr(m, name), module, new)
    return module


NAMES = {
    "ema_state_index": ("running_mean", "running_var"),
    "ema_first_time_index": ("first_time",),
    "batch_state_index": ("hidden_mean", "hidden_var"),
    "batch_counter": ("counter",),
}
"""What stands behind the indices of BatchNorm."""


def _names(module, state, leaves):
    """Return names for the leaves of a state, after the indices that a module has them by."""
    import equinox
    import jax

    def is_index(value):
        return isinstance(value, equinox.nn.StateIndex)

    found = {}
    for path, index in jax.tree_util.tree_flatten_with_path(module, is_leaf=is_index)[0]:
        if is_index(index):
            *before, last = [str(getattr(key, "name", getattr(key, "key", key))) for key in path]
            behind = jax.tree_util.tree_leaves(state.get(index))
            names = NAMES.get(last, ["%s.%d" % (last, place) for place in range(len(behind))])
            found.update((id(one), ".".join(before + [n])) for one, n in zip(behind, names))
    return [found[id(leaf)] for leaf in leaves]

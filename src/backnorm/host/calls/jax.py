"""How functions of JAX are called and differentiated. Plain: see `backnorm.host.specs`."""

import contextlib

import numpy as np

from ..runners import first_of
from . import own

__all__ = [
    "alone",
    "axes_in",
    "differentiate",
    "double",
    "dtypes_on",
    "higher",
    "layer_classes",
    "layers",
    "spread",
    "take_step",
]


def layer_classes():
    """JAX itself has no layers."""
    return ()


def layers():
    """Return all normalization layers."""
    import jax

    def standardize(x):
        return jax.nn.standardize(x)

    found = [("jax.nn.standardize", "layer", standardize, None)]
    ours = own("jax")
    if ours is not None:

        def batch_norm(x, gamma, beta):
            return ours.batch_norm(x, gamma, beta).y

        batch_norm.channels_last = True
        found.append(("backnorm.jax.batch_norm", "batch", batch_norm, None))
    return found


def axes_in(value):
    """Return the names of mapped axes in an argument of a layer: one name, several, or none."""
    if value is None or value == "":
        return ()
    return tuple(value) if isinstance(value, (list, tuple)) else (value,)


def spread(layer):
    """Return the layer spec of a layer that takes part in the mapped axes that it names.

    ``call`` and ``step`` then have these axes, with one part of a batch in each; ``over`` has both
    for several parts, which are stacked along the first axis of all arrays.
    """
    names = axes_in(layer["axis_names"])
    functions = {name: layer[name] for name in ("call", "step") if name in layer}
    over = {name: _over(function, names) for name, function in functions.items()}
    bound = {name: alone(function, names) for name, function in functions.items()}
    return dict(layer, over=over, **bound)


def alone(function, names):
    """Return a function of arrays that runs within axes of these names, each of length 1."""
    if not names:
        return function
    inner, name = alone(function, names[1:]), names[0]

    def run(*arguments):
        return _first(_mapped(lambda: inner(*arguments), name, 1)())

    return run


def _over(function, names):
    """Return a function of stacked arrays: the first of these axes has a part in each place."""
    inner, name = alone(function, names[1:]), (tuple(names) + (None,))[0]

    def run(arrays, *modes):
        parts = len(arrays["x"])
        return _mapped(lambda arrays: inner(arrays, *modes), name, parts)(arrays)

    return run


def _mapped(function, name, size):
    import jax

    return jax.vmap(function, axis_size=size, **({} if name is None else {"axis_name": name}))


def _first(values):
    import jax

    return jax.tree_util.tree_map(lambda value: value[0], values)


def double(arrays):
    """Switch float64 on where it is asked for; JAX has it off by default."""
    import jax

    if not any(array.dtype == np.float64 for array in arrays):
        return contextlib.suppress()  # noqa: B022 - Python 3.6 has no nullcontext
    try:
        return jax.enable_x64(True)
    except (AttributeError, TypeError):
        from jax.experimental import enable_x64

        return enable_x64()


def dtypes_on(device):
    """Return the dtypes of arrays on a device; raises what JAX says of one that is not there."""
    import jax

    place = _device(device)
    with jax.default_device(place):
        np.asarray(jax.numpy.ones(1))
    # Metal has no float64.
    return ("float32",) if place.platform == "METAL" else ("float32", "float64")


def differentiate(call, leaves, constants, dy, device=""):
    """Return y and the gradients of sum(y*dy), by jax.vjp.

    Compiled, as it is used: one audit makes thousands of calls in a few shapes. What cannot be
    compiled, since it looks at values, runs as it is.
    """
    import jax

    def operation(given, fixed, upstream):
        def run(arrays):
            return first_of(call(dict(fixed, **arrays)))

        if upstream is None:
            return run(given), {}
        y, back = jax.vjp(run, given)
        return y, back(upstream.astype(y.dtype))[0]

    return _ran(_kept(call, "gradients", operation), device, leaves, constants, dy)


def higher(call, leaves, constants, dy, along, device=""):
    """Return the last of the gradients of the gradient."""
    import jax

    def total(given, fixed, directions):
        def reached(arrays):
            arrays = dict(arrays)
            upstream = arrays.pop("dy")
            y = first_of(call(dict(fixed, **arrays)))
            return (y * upstream.astype(y.dtype)).sum()

        for direction in directions:
            reached = _slope_along(reached, direction)
        return jax.grad(reached)(given)

    return _ran(_kept(call, "higher", total), device, dict(leaves, dy=dy), constants, along)


def _slope_along(function, direction):
    """Return the function whose value is that of a function's gradient by x along a direction."""
    import jax

    return lambda arrays: (direction * jax.grad(function)(arrays)["x"]).sum()


def take_step(step, constants, leaves, dy, train, device=""):
    """Return the state after a call. A backward pass does not change it."""

    def moved(arrays):
        return step(arrays, train)

    return _ran(_kept(step, "moved %s" % train, moved), device, dict(leaves, **constants))


def _ran(function, device, *arguments):
    """Run a function of JAX's arrays on NumPy's, on a device: compiled, if it can be."""
    import jax
    from jax import numpy as jnp

    leaves = jax.tree_util.tree_leaves(arguments)
    with double(leaves), _placed(device):
        given = jax.tree_util.tree_map(jnp.asarray, arguments)
        plain, compiled = function
        try:
            found = compiled(*given)
        except jax.errors.JAXTypeError:
            found = plain(*given)
        return jax.tree_util.tree_map(_array, found)


def _placed(device):
    """Make arrays on a device, where one is named."""
    import jax

    if not device:
        return contextlib.suppress()  # noqa: B022 - Python 3.6 has no nullcontext
    return jax.default_device(_device(device))


def _device(device):
    """Return the device of a name such as cuda:1."""
    import jax

    kind, _, number = device.partition(":")
    there = jax.devices(kind)
    if int(number or 0) >= len(there):
        raise ValueError("JAX has %s %s" % (len(there), kind))
    return there[int(number or 0)]


def _kept(call, name, function):
    """Return a function and the same compiled: the first of that name that belongs to a call."""
    import jax

    kept = call.__dict__.setdefault("kept", {})
    if name not in kept:
        kept[name] = function, jax.jit(function)
    return kept[name]


def _array(value):
    """Return a NumPy array; NumPy itself has no bfloat16, float32 holds all of its values."""
    array = np.asarray(value)
    return array.astype(np.float32) if array.dtype.kind == "V" else np.array(array)

"""How functions of JAX are called and differentiated. Plain: see `backnorm.host.specs`."""

import contextlib

import numpy as np

FRAMEWORK = "jax"


def base():
    """JAX differentiates."""
    return "jax"


def layer_classes():
    """JAX has no layers of its own."""
    return ()


def layers(tools):
    """Return all normalization layers."""
    import jax

    def standardize(x):
        return jax.nn.standardize(x)

    return [("jax.nn.standardize", "layer", standardize, None)]


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


def differentiate(call, leaves, constants, dy):
    """Return y and the gradients of sum(y*dy), by jax.vjp.

    Compiled, as it is used: one audit makes thousands of calls in a few shapes. What cannot be
    compiled, since it looks at values, runs as it is.
    """
    import jax
    from jax import numpy as jnp

    with double(leaves.values()):
        given = {role: jnp.asarray(value) for role, value in leaves.items()}
        fixed = {role: jnp.asarray(value) for role, value in constants.items()}
        upstream = None if dy is None else jnp.asarray(dy)
        plain, compiled = _operations(call)
        try:
            y, gradients = compiled(given, fixed, upstream)
        except jax.errors.JAXTypeError:
            y, gradients = plain(given, fixed, upstream)
        return _array(y), {role: _array(value) for role, value in gradients.items()}


def _operations(call):
    """Return y and gradients as a function, and the same compiled, made once for each call."""
    import jax

    if not hasattr(call, "operations"):

        def operation(given, fixed, upstream):
            def run(arrays):
                y = call(dict(fixed, **arrays))
                return y[0] if isinstance(y, (tuple, list)) else y

            if upstream is None:
                return run(given), {}
            y, back = jax.vjp(run, given)
            return y, back(upstream.astype(y.dtype))[0]

        call.operations = operation, jax.jit(operation)
    return call.operations


def _array(value):
    """Return a NumPy array; NumPy itself has no bfloat16, float32 holds all of its values."""
    array = np.asarray(value)
    return array.astype(np.float32) if array.dtype.kind == "V" else np.array(array)

"""How functions of TensorFlow are called and differentiated. Plain: see `backnorm.host.specs`.

Its layers are those of Keras. What is audited as a layer is the function whose outputs are new
running statistics: they are its state.
"""

from .. import defaults
from ..runners import first_of

__all__ = [
    "FusedBatchNorm",
    "channels_last",
    "differentiate",
    "higher",
    "layer",
    "layer_classes",
    "layers",
    "take_step",
]


class FusedBatchNorm:
    """tf.compat.v1.nn.fused_batch_norm with the weight of the new statistics."""

    def __init__(self, exponential_avg_factor=1.0):
        self.exponential_avg_factor = exponential_avg_factor


def layer_classes():
    """Return the class of layers: what stands for a function that returns running statistics."""
    return (FusedBatchNorm,)


def layers():
    """Return all normalization functions."""
    import tensorflow as tf

    def moments(x, gamma, beta):
        mean, variance = tf.nn.moments(x, list(range(len(x.shape) - 1)))
        return tf.nn.batch_normalization(x, mean, variance, beta, gamma, 1e-3)

    return [
        ("tf.nn.moments and tf.nn.batch_normalization", "batch", channels_last(moments), None),
        (
            "tf.compat.v1.nn.fused_batch_norm",
            "batch",
            FusedBatchNorm,
            # By default it is 1: then the statistics that it returns are those of the batch.
            {"exponential_avg_factor": 0.1},
        ),
    ]


def layer(candidate, kind, train):
    """Return the layer spec of the fused function in one mode."""
    import tensorflow as tf

    length = defaults.CHANNELS[kind]

    def outputs(arrays, training):
        given = [arrays[name] for name in ("x", "gamma", "beta", "mean", "variance")]
        return tf.compat.v1.nn.fused_batch_norm(
            *given,
            is_training=training,
            exponential_avg_factor=candidate.exponential_avg_factor,
        )

    def step(arrays, training):
        _, mean, variance = outputs(arrays, training)
        return {"mean": mean, "variance": variance}

    roles = (("mean", "running_mean"), ("variance", "running_var"))
    return {
        "call": lambda arrays: outputs(arrays, train)[0],
        "step": step,
        "state": {name: defaults.running(role, length) for name, role in roles},
        "shape": (length,),
        "last": True,
    }


def channels_last(function):
    """Say that a function takes channels last."""
    function.channels_last = True
    return function


def differentiate(call, leaves, constants, dy):
    """Return y and the gradients of sum(y*dy), by a tape."""
    import tensorflow as tf

    given = {role: tf.constant(value) for role, value in leaves.items()}
    fixed = {role: tf.constant(value) for role, value in constants.items()}
    with tf.GradientTape() as tape:
        for tensor in given.values():
            tape.watch(tensor)
        y = call(dict(fixed, **given))
        y = first_of(y)
    if dy is None:
        return y.numpy(), {}
    return y.numpy(), _arrays(tape.gradient(y, given, tf.cast(tf.constant(dy), y.dtype)))


def higher(call, leaves, constants, dy, along):
    """Return the last of the gradients of the gradient, by a tape within another."""
    import tensorflow as tf

    given = {role: tf.constant(value) for role, value in dict(leaves, dy=dy).items()}
    arrays = dict({role: tf.constant(value) for role, value in constants.items()}, **given)
    upstream = arrays.pop("dy")

    def total(directions):
        if not directions:
            y = call(arrays)
            y = first_of(y)
            return tf.reduce_sum(y * tf.cast(upstream, y.dtype))
        with tf.GradientTape() as tape:
            tape.watch(given["x"])
            before = total(directions[:-1])
        return tf.reduce_sum(tape.gradient(before, given["x"]) * directions[-1])

    with tf.GradientTape() as tape:
        for tensor in given.values():
            tape.watch(tensor)
        last = total(along)
    return _arrays(tape.gradient(last, given))


def take_step(step, constants, leaves, dy, train):
    """Return the state after a call of a function that returns it."""
    import tensorflow as tf

    arrays = {name: tf.constant(value) for name, value in dict(constants, **leaves).items()}
    return _arrays(step(arrays, train))


def _arrays(tensors):
    return {name: tensor.numpy() for name, tensor in tensors.items() if tensor is not None}

"""How functions of TensorFlow are called and differentiated. Plain: see `backnorm.host.specs`.

Its layers are those of Keras.
"""

from ..runners import first_of

__all__ = ["channels_last", "differentiate", "higher", "layer_classes", "layers", "take_step"]


def layer_classes():
    """Return the classes of layers: modules that are called."""
    return ()


def layers():
    """Return all normalization functions."""
    import tensorflow as tf

    def moments(x, gamma, beta):
        mean, variance = tf.nn.moments(x, list(range(len(x.shape) - 1)))
        return tf.nn.batch_normalization(x, mean, variance, beta, gamma, 1e-3)

    def fused(x, gamma, beta, running_mean, running_var, training):
        statistics = (None, None) if training else (running_mean, running_var)
        return tf.compat.v1.nn.fused_batch_norm(
            x, gamma, beta, *statistics, epsilon=1e-3, is_training=training
        )[0]

    return [
        ("tf.nn.moments and tf.nn.batch_normalization", "batch", channels_last(moments), None),
        ("tf.compat.v1.nn.fused_batch_norm", "batch", channels_last(fused), None),
    ]


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

"""The other implementations, each called as its users call it.

This file needs one framework and no other package, not even backnorm. So `--peer-python
NAME=INTERPRETER` can run it under the interpreter of another environment (Python 3.6 or newer),
where it reads a job as JSON from standard input and prints the seconds as JSON.
"""

import json
import os
import sys
import time

__all__ = ["OPERATIONS", "PEERS", "jax_steps", "main"]

OPERATIONS = ("forward", "backward")


def torch_calls(op, layout, dtype, shape, threads):
    """PyTorch: functional.batch_norm, and the same kernels with given outputs."""
    import torch

    torch.set_num_threads(threads)
    kind = getattr(torch, dtype)  # torch.float32 and so on
    memory = (
        torch.channels_last if layout == "nhwc" and len(shape) == 4 else torch.contiguous_format
    )

    def tensor():
        return torch.randn(shape).to(kind).contiguous(memory_format=memory)

    x, dy = tensor(), tensor()
    wide = torch.float64 if kind == torch.float64 else torch.float32
    weight, bias = torch.ones(shape[1], dtype=wide), torch.zeros(shape[1], dtype=wide)
    arguments = (x, weight, bias, None, None, True, 0.1, 1e-5)
    out, mean, inv_std = torch.native_batch_norm(*arguments)
    backward = torch.ops.aten.native_batch_norm_backward
    of_backward = (dy, x, weight, None, None, mean, inv_std, True, 1e-5, [True, True, True])
    dx, dweight, dbias = backward(*of_backward)
    if op == "forward":
        return {
            "torch": lambda: torch.nn.functional.batch_norm(
                x, None, None, weight, bias, True, 0.1, 1e-5
            ),
            "torch (out given)": lambda: torch.native_batch_norm(
                *arguments, out=(out, mean, inv_std)
            ),
        }
    return {
        "torch": lambda: backward(*of_backward),
        "torch (out given)": lambda: torch.ops.aten.native_batch_norm_backward.out(
            *of_backward, out0=dx, out1=dweight, out2=dbias
        ),
    }


def jax_calls(op, layout, dtype, shape, threads):
    """JAX: the formula, compiled; backward by automatic differentiation."""
    import jax
    import numpy as np

    axis = len(shape) - 1 if layout == "nhwc" else 1
    order = [0] + list(range(2, len(shape))) + [1] if layout == "nhwc" else range(len(shape))
    extent = [shape[i] for i in order]
    reduced = tuple(i for i in range(len(shape)) if i != axis)
    x, dy = (jax.numpy.asarray(np.random.randn(*extent), dtype) for _ in range(2))
    view = [1] * len(shape)
    view[axis] = shape[1]
    ones, zeros = jax.numpy.ones(view), jax.numpy.zeros(view)

    def forward(x, gamma, beta):
        wide = x.astype("float32") if dtype != "float64" else x
        mean = wide.mean(reduced, keepdims=True)
        var = ((wide - mean) ** 2).mean(reduced, keepdims=True)
        return ((wide - mean) * jax.lax.rsqrt(var + 1e-5) * gamma + beta).astype(x.dtype)

    if op == "forward":
        compiled = jax.jit(forward)
        return {"jax": lambda: compiled(x, ones, zeros).block_until_ready()}

    def gradients(x, gamma, beta, dy):
        return jax.vjp(forward, x, gamma, beta)[1](dy)

    compiled = jax.jit(gradients)
    return {"jax": lambda: jax.block_until_ready(compiled(x, ones, zeros, dy))}


def jax_steps(layout, dtype, shape):
    """JAX: forward and backward, compiled: two passes, Flax's formula, and Flax's layer."""
    import jax
    import numpy as np
    from jax import numpy as jnp

    axis = len(shape) - 1 if layout == "nhwc" else 1
    extent = shape[:1] + shape[2:] + shape[1:2] if layout == "nhwc" else shape
    reduced = tuple(i for i in range(len(shape)) if i != axis)
    x, dy = (jnp.asarray(np.random.randn(*extent), dtype) for _ in range(2))
    wide = "float64" if dtype == "float64" else "float32"
    scale, bias = jnp.ones(shape[1], wide), jnp.zeros(shape[1], wide)
    view = [1] * len(shape)
    view[axis] = shape[1]

    def normalized(x, mean, var, scale, bias):
        factor = jax.lax.rsqrt(var + 1e-5) * scale
        y = (x - mean.reshape(view)) * factor.reshape(view) + bias.reshape(view)
        return y.astype(dtype)

    def two_passes(x, scale, bias):
        x = x.astype(wide)
        mean = x.mean(reduced)
        var = jnp.square(x - mean.reshape(view)).mean(reduced)
        return normalized(x, mean, var, scale, bias)

    def flax_formula(x, scale, bias):
        x = x.astype(wide)
        mean, square = x.mean(reduced), jnp.square(x).mean(reduced)
        return normalized(x, mean, jnp.maximum(0, square - jnp.square(mean)), scale, bias)

    functions = {"jax.numpy": two_passes, "flax formula": flax_formula}
    try:
        from flax import linen
    except ImportError:
        pass
    else:
        layer = linen.BatchNorm(use_running_average=False, axis=axis, epsilon=1e-5)
        state = {"mean": jnp.zeros_like(scale), "var": jnp.ones_like(scale)}

        def flax_layer(x, scale, bias):
            variables = {"params": {"scale": scale, "bias": bias}, "batch_stats": state}
            return layer.apply(variables, x, mutable=["batch_stats"])

        functions["flax layer"] = flax_layer
    return {
        name: _compiled_step(function, x, scale, bias, dy) for name, function in functions.items()
    }


def _compiled_step(function, x, scale, bias, dy):
    import jax

    @jax.jit
    def step(x, scale, bias, dy):
        y, pull, *state = jax.vjp(
            function, x, scale, bias, has_aux=function.__name__ == "flax_layer"
        )
        return (y, state) + pull(dy)

    return lambda: jax.block_until_ready(step(x, scale, bias, dy))


def tensorflow_calls(op, layout, dtype, shape, threads):
    """TensorFlow: fused_batch_norm, which on CPUs exists for NHWC only."""
    import tensorflow as tf

    if layout != "nhwc" or len(shape) != 4:
        return {}
    extent = (shape[0], shape[2], shape[3], shape[1])
    x, dy = tf.random.normal(extent, dtype=dtype), tf.random.normal(extent, dtype=dtype)
    ones, zeros = tf.ones(shape[1]), tf.zeros(shape[1])
    options = {"epsilon": 1e-5, "data_format": "NHWC", "is_training": True}
    raw = tf.raw_ops

    def forward():
        return raw.FusedBatchNormV3(
            x=x, scale=ones, offset=zeros, mean=zeros[:0], variance=zeros[:0], **options
        )

    if op == "forward":
        return {"tensorflow": lambda: forward()[0]}
    saved = forward()
    spaces = dict(zip(("reserve_space_1", "reserve_space_2", "reserve_space_3"), saved[3:6]))
    return {
        "tensorflow": lambda: raw.FusedBatchNormGradV3(
            y_backprop=dy, x=x, scale=ones, **spaces, **options
        )[0]
    }


def mxnet_calls(op, layout, dtype, shape, threads):
    """MXNet: nd.BatchNorm and its recorded backward."""
    import mxnet as mx

    axis = len(shape) - 1 if layout == "nhwc" else 1
    extent = shape[:1] + shape[2:] + shape[1:2] if layout == "nhwc" else shape
    x, dy = (mx.nd.random.normal(shape=tuple(extent), dtype=dtype) for _ in range(2))
    ones, zeros = mx.nd.ones(shape[1]), mx.nd.zeros(shape[1])
    gamma, mean, var = ones.copy(), zeros.copy(), ones.copy()
    for array in (x, gamma, zeros):
        array.attach_grad()

    def forward():
        return mx.nd.BatchNorm(x, gamma, zeros, mean, var, eps=1e-5, fix_gamma=False, axis=axis)

    def step():
        with mx.autograd.record():
            y = forward()
        y.wait_to_read()
        begin = time.perf_counter()
        y.backward(dy)
        x.grad.wait_to_read()
        return time.perf_counter() - begin

    def training_forward():
        with mx.autograd.train_mode():
            forward().wait_to_read()

    return {"mxnet": training_forward if op == "forward" else step}


def caffe_calls(op, layout, dtype, shape, threads):
    """Caffe: BatchNorm and Scale in one net, NCHW, float32."""
    import tempfile

    import caffe
    import numpy as np

    if layout != "nchw" or dtype != "float32":
        return {}
    dims = " ".join("dim: %d" % d for d in shape)
    text = (
        'name: "bn" force_backward: true '
        'layer { name: "x" type: "Input" top: "x" input_param { shape { %s } } } '
        'layer { name: "bn" type: "BatchNorm" bottom: "x" top: "n" '
        "batch_norm_param { use_global_stats: false eps: 1e-5 } } "
        'layer { name: "scale" type: "Scale" bottom: "n" top: "y" '
        "scale_param { bias_term: true } }"
    ) % dims
    with tempfile.NamedTemporaryFile("w", suffix=".prototxt", delete=False) as file:
        file.write(text)
    net = caffe.Net(file.name, caffe.TRAIN)
    os.remove(file.name)
    net.blobs["x"].data[...] = np.random.randn(*shape)
    net.forward()
    net.blobs["y"].diff[...] = np.random.randn(*shape)
    return {"caffe": net.forward if op == "forward" else net.backward}


PEERS = {
    "torch": torch_calls,
    "jax": jax_calls,
    "tensorflow": tensorflow_calls,
    "mxnet": mxnet_calls,
    "caffe": caffe_calls,
}


def seconds(call, rounds):
    """Return the median seconds of a call; a call that times itself returns a float."""
    samples = []
    for _ in range(rounds + 2):
        begin = time.perf_counter()
        result = call()
        samples.append(result if isinstance(result, float) else time.perf_counter() - begin)
    return sorted(samples[2:])[rounds // 2]


def main():
    """Time one job, given as JSON on standard input."""
    job = json.load(sys.stdin)
    answer = os.dup(1)
    os.dup2(2, 1)  # output of a framework must not mix with the answer
    times = {}
    for case in job["cases"]:
        calls = PEERS[job["peer"]](
            case["op"], case["layout"], case["dtype"], case["shape"], job["threads"]
        )
        times[case["key"]] = {name: seconds(call, job["rounds"]) for name, call in calls.items()}
    os.write(answer, json.dumps(times).encode())


if __name__ == "__main__":
    main()

"""Write small model files with the frameworks' own savers, and what the frameworks compute.

Each network is batch norm, ReLU, batch norm without gamma (where the framework has that), and a
dense layer beside, which no conversion may touch. Run in the environment of `make test-frameworks`:

    KERAS_BACKEND=torch .venv-frameworks/bin/python tests/files/samples/make_samples.py
"""

from __future__ import annotations

import os
from pathlib import Path

os.environ.setdefault("KERAS_BACKEND", "torch")

import flax
import flax.linen as nn
import jax
import keras
import numpy as np
import onnx
import safetensors.torch
import torch
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator

HERE = Path(__file__).parent
C = 5
RNG = np.random.default_rng(4)


def draw(kind: str) -> np.ndarray:
    """Values such as a trained layer has."""
    noise = RNG.normal(size=C)
    values = {"gamma": 1 + 0.3 * noise, "var": np.abs(1 + 0.3 * noise) + 0.1}
    return values.get(kind, 0.4 * noise).astype(np.float32)


def torch_files(x: np.ndarray) -> np.ndarray:
    """.pt, .pt of a checkpoint, old and new, and .safetensors."""
    norms = torch.nn.BatchNorm2d(C, eps=1e-3), torch.nn.BatchNorm2d(C, affine=False)
    net = torch.nn.Sequential(norms[0], torch.nn.ReLU(), norms[1]).eval()
    with torch.no_grad():
        norms[0].weight.copy_(torch.from_numpy(draw("gamma")))
        norms[0].bias.copy_(torch.from_numpy(draw("beta")))
        for norm in norms:
            norm.running_mean.copy_(torch.from_numpy(draw("mean")))
            norm.running_var.copy_(torch.from_numpy(draw("var")))
            norm.num_batches_tracked.fill_(7)
        y = net(torch.from_numpy(x)).numpy()
    state = {**net.state_dict(), "dense.weight": torch.randn(2, C).bfloat16()}
    torch.jit.script(net).save(HERE / "torch.torchscript")
    torch.save(state, HERE / "torch.pt")
    torch.save({"state_dict": state, "epoch": 3}, HERE / "torch_checkpoint.pt")
    legacy = HERE / "torch_legacy.pt"
    torch.save({"state_dict": state}, legacy, _use_new_zipfile_serialization=False)
    safetensors.torch.save_file(state, HERE / "torch.safetensors", {"format": "pt"})
    return y


def keras_files(x: np.ndarray) -> np.ndarray:
    """.keras, .h5 and .weights.h5; nothing is trained."""
    norms = (
        keras.layers.BatchNormalization(name="first", epsilon=2e-3),
        keras.layers.BatchNormalization(scale=False),
    )
    start = keras.Input(x.shape[1:])
    y = norms[1](keras.layers.ReLU()(norms[0](start)))
    inner = keras.Sequential([keras.Input(x.shape[1:]), keras.layers.Dense(2)], name="inner")
    model = keras.Model(start, [y, inner(y)])
    norms[0].set_weights([draw(kind) for kind in ("gamma", "beta", "mean", "var")])
    norms[1].set_weights([draw(kind) for kind in ("beta", "mean", "var")])
    model.save(HERE / "keras.keras")
    model.save(HERE / "keras.h5")
    model.save_weights(HERE / "keras.weights.h5")
    return np.asarray(model.predict(x, verbose=0)[0])


def compiled_keras_files(x: np.ndarray) -> np.ndarray:
    """The same network compiled and trained: files with the state of the optimizer."""
    start = keras.Input(x.shape[1:])
    y = keras.layers.BatchNormalization(name="first", epsilon=2e-3)(start)
    y = keras.layers.BatchNormalization(scale=False, name="second")(keras.layers.ReLU()(y))
    model = keras.Model(start, y)
    model.compile(keras.optimizers.Adam(0.05), "mse")
    model.fit(3 * x + 1, x, epochs=20, verbose=0)
    model.save(HERE / "compiled.keras")
    model.save(HERE / "compiled.h5")
    model.save_weights(HERE / "compiled.weights.h5")
    return np.asarray(model.predict(x, verbose=0))


class Net(nn.Module):
    """The network in Flax."""

    @nn.compact
    def __call__(self, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Return the output of both norms, and that of the dense layer."""
        y = nn.relu(nn.BatchNorm(use_running_average=True, epsilon=1e-4)(x))
        y = nn.BatchNorm(use_running_average=True, use_scale=False)(y)
        return y, nn.Dense(2)(y)


def flax_files(x: np.ndarray) -> np.ndarray:
    """.msgpack, and .npz with the names of its tree."""
    net = Net()
    variables = jax.tree.map(np.asarray, net.init(jax.random.key(0), x))
    for name in ("BatchNorm_0", "BatchNorm_1"):
        for field in variables["params"][name]:
            kind = "gamma" if field == "scale" else "beta"
            variables["params"][name][field] = draw(kind)
        variables["batch_stats"][name] = {"mean": draw("mean"), "var": draw("var")}
    (HERE / "flax.msgpack").write_bytes(flax.serialization.to_bytes(variables))
    np.savez(HERE / "flax.npz", **flax.traverse_util.flatten_dict(variables, sep="/"))
    return np.asarray(net.apply(variables, x)[0])


def onnx_files(x: np.ndarray) -> np.ndarray:
    """.onnx."""
    kinds = ("gamma", "beta", "mean", "var")
    tensors, nodes = [], []
    for index, (start, end) in enumerate([("x", "a"), ("b", "y")]):
        names = [f"n{index}.{kind}" for kind in kinds]
        tensors += [numpy_helper.from_array(draw(k), n) for k, n in zip(kinds, names, strict=True)]
        name, eps = f"norm{index}", 1e-3 if index else 1e-5
        node = helper.make_node("BatchNormalization", [start, *names], [end], name, epsilon=eps)
        nodes += [node, helper.make_node("Relu", ["a"], ["b"])] if index == 0 else [node]
    tensors.append(numpy_helper.from_array(np.ones((2, C), np.float32), "dense.weight"))
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes, "net", [value("x", 1, x.shape)], [value("y", 1, x.shape)], tensors
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 15)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, HERE / "onnx.onnx")
    return ReferenceEvaluator(model).run(None, {"x": x})[0]


def main() -> None:
    """Write all files, and what was computed."""
    x = RNG.normal(size=(4, C, 3, 2)).astype(np.float32)
    last = np.ascontiguousarray(np.moveaxis(x, 1, -1))
    recorded = {
        "torch": torch_files(x),
        "keras": np.moveaxis(keras_files(last), -1, 1),
        "compiled": np.moveaxis(compiled_keras_files(last), -1, 1),
        "flax": np.moveaxis(flax_files(last), -1, 1),
        "onnx": onnx_files(x),
    }
    np.savez_compressed(HERE / "recorded.npz", x=x, **recorded)
    versions = {m.__name__: m.__version__ for m in (torch, keras, flax, jax, onnx, np)}
    (HERE / "versions.txt").write_text("".join(f"{k} {v}\n" for k, v in versions.items()))


main()

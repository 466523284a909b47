"""Model files beside the frameworks themselves: theirs are read, and ours are loaded by them."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed; make test-frameworks has it")
os.environ["KERAS_BACKEND"] = "torch"
keras = pytest.importorskip("keras", reason="Keras is not installed; make test-frameworks has it")
jax = pytest.importorskip("jax", reason="JAX is not installed; make test-frameworks has it")
flax = pytest.importorskip("flax", reason="Flax is not installed; make test-frameworks has it")
onnx = pytest.importorskip("onnx", reason="onnx is not installed; make test-frameworks has it")

import flax.linen as nn  # noqa: E402
import safetensors.torch  # noqa: E402
from flax import nnx, serialization  # noqa: E402
from onnx.reference import ReferenceEvaluator  # noqa: E402

from backnorm.convert import files  # noqa: E402
from backnorm.testing.budget import FILE_OUTPUT, parts  # noqa: E402
from files import formulas, models  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.filterwarnings(
    "ignore:__array__ implementation doesn't accept a copy keyword",  # of Keras's variables
    "ignore:You are saving your model as an HDF5 file",
)

C = 5
RNG = np.random.default_rng(11)
X = RNG.normal(size=(6, C, 3, 2)).astype(np.float32)
LAST = np.ascontiguousarray(np.moveaxis(X, 1, -1))


def drawn(field: str) -> np.ndarray:
    """Values such as a trained layer has."""
    noise = RNG.normal(size=C)
    positive = "var" in field or field in {"gamma", "weight", "scale"}
    return (np.abs(1 + 0.3 * noise) + 0.1 if positive else 0.4 * noise).astype(np.float32)


# --- theirs are read ---------------------------------------------------------------------------


def torch_net(folder: Path, name: str) -> tuple[Path, np.ndarray]:
    """Batch norm, ReLU, batch norm, saved by torch or by safetensors."""
    net = torch.nn.Sequential(torch.nn.BatchNorm2d(C), torch.nn.ReLU(), torch.nn.BatchNorm2d(C))
    state = {
        key: torch.from_numpy(drawn(key.rpartition(".")[2])) if value.ndim else value
        for key, value in net.state_dict().items()
    }
    net.load_state_dict(state)
    if name.endswith("safetensors"):
        safetensors.torch.save_file(net.state_dict(), folder / name)
    else:
        torch.save(net.state_dict(), folder / name)
    with torch.no_grad():
        return folder / name, net.eval()(torch.from_numpy(X)).numpy()


def keras_net(folder: Path, name: str) -> tuple[Path, np.ndarray]:
    """The same in Keras, the second norm inside a nested network."""
    norms = [
        keras.layers.BatchNormalization(name=n, epsilon=e) for n, e in (("a", 2e-3), ("b", 1e-3))
    ]
    inner = keras.Sequential([keras.Input((3, 2, C)), keras.layers.ReLU(), norms[1]], name="inner")
    start = keras.Input((3, 2, C))
    net = keras.Model(start, inner(norms[0](start)))
    for norm in norms:
        norm.set_weights([drawn(v.name) for v in norm.weights])
    net.save(folder / name)
    return folder / name, np.moveaxis(np.asarray(net.predict(LAST, verbose=0)), -1, 1)


class Net(nn.Module):
    """The same in Flax."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Return the output in eval."""
        y = nn.relu(nn.BatchNorm(use_running_average=True)(x))
        return nn.BatchNorm(use_running_average=True)(y)


def flax_net(folder: Path, name: str) -> tuple[Path, np.ndarray]:
    """Saved by flax.serialization, or by np.savez with flattened names."""
    variables = Net().init(jax.random.key(0), LAST)
    flat = flax.traverse_util.flatten_dict(variables, sep="/")
    flat = {key: drawn(key.rpartition("/")[2]) for key in flat}
    variables = flax.traverse_util.unflatten_dict(flat, sep="/")
    if name.endswith("npz"):
        np.savez(folder / name, **flat)
    else:
        (folder / name).write_bytes(serialization.to_bytes(variables))
    return folder / name, np.moveaxis(np.asarray(Net().apply(variables, LAST)), -1, 1)


def nnx_net(folder: Path, name: str) -> tuple[Path, np.ndarray]:
    """The same in nnx, whose state is one tree."""
    norms = [nnx.BatchNorm(C, use_running_average=True, rngs=nnx.Rngs(0)) for _ in range(2)]
    for norm in norms:
        for field in ("scale", "bias", "mean", "var"):
            getattr(norm, field)[...] = drawn(field)
    tree = {
        f"norm{index}": {
            f: np.asarray(getattr(norm, f)[...]) for f in ("scale", "bias", "mean", "var")
        }
        for index, norm in enumerate(norms)
    }
    (folder / name).write_bytes(serialization.to_bytes(tree))
    y = norms[1](jax.nn.relu(norms[0](LAST)))
    return folder / name, np.moveaxis(np.asarray(y), -1, 1)


THEIRS: dict[str, Callable[[Path, str], tuple[Path, np.ndarray]]] = {
    "t.pt": torch_net,
    "t.safetensors": torch_net,
    "k.keras": keras_net,
    "k.h5": keras_net,
    "f.msgpack": flax_net,
    "f.npz": flax_net,
    "nnx.msgpack": nnx_net,
}


@pytest.mark.parametrize("name", THEIRS)
def test_a_file_of_the_framework_is_read(name: str, tmp_path: Path) -> None:
    """What is in it computes what the framework computes."""
    path, y = THEIRS[name](tmp_path, name)
    model = files.read(path)
    model = replace(model, layers=tuple(sorted(model.layers, key=lambda layer: layer.name)))
    assert parts(formulas.output(model, X), y) <= FILE_OUTPUT


# --- ours are loaded ---------------------------------------------------------------------------


def by_torch(path: Path, converted: files.ModelFile, x: np.ndarray) -> np.ndarray:
    """Load a state_dict, strictly, into modules built with the options of the table."""
    state = (
        safetensors.torch.load_file(path)
        if path.suffix == ".safetensors"
        else torch.load(path, weights_only=True)
    )
    y = torch.from_numpy(x)
    for index, layer in enumerate(converted.layers):
        start = f"{layer.name}."
        own = {key.removeprefix(start): v for key, v in state.items() if key.startswith(start)}
        affine = bool(layer.options["affine"])
        module = torch.nn.BatchNorm2d(x.shape[1], eps=layer.options["eps"], affine=affine)
        module.load_state_dict(own)
        y = module.eval()(torch.relu(y) if index else y)
    return y.detach().numpy()


def by_keras(path: Path, converted: files.ModelFile, x: np.ndarray) -> np.ndarray:
    """Load weights by name into a model of layers built with the options of the table."""
    start = y = keras.Input((*x.shape[2:], x.shape[1]))
    for index, layer in enumerate(converted.layers):
        norm = keras.layers.BatchNormalization(
            name=f"n{layer.name}" if layer.name.isdigit() else layer.name,
            epsilon=layer.options["epsilon"],
            scale=layer.options["scale"],
            center=layer.options["center"],
        )
        norm.name = layer.name
        y = norm(keras.layers.ReLU()(y) if index else y)
    model = keras.Model(start, y)
    model.load_weights(path, by_name=True)
    return np.moveaxis(np.asarray(model.predict(np.moveaxis(x, 1, -1), verbose=0)), -1, 1)


def by_flax(path: Path, converted: files.ModelFile, x: np.ndarray) -> np.ndarray:
    """Restore a msgpack and apply modules built with the options of the table."""
    tree = serialization.msgpack_restore(path.read_bytes())
    y = np.moveaxis(x, 1, -1)
    for index, layer in enumerate(converted.layers):
        module = nn.BatchNorm(
            use_running_average=True,
            epsilon=layer.options["epsilon"],
            use_scale=layer.options["use_scale"],
            use_bias=layer.options["use_bias"],
        )
        groups = {name: part for name, part in tree.items() if name in {"params", "batch_stats"}}
        own = {name: part[layer.name] for name, part in groups.items() if layer.name in part}
        y = module.apply(own, jax.nn.relu(y) if index else y)
    return np.moveaxis(np.asarray(y), -1, 1)


def by_onnx(path: Path, converted: files.ModelFile, x: np.ndarray) -> np.ndarray:
    """Check the model, and run it layer by layer with onnx's own evaluator."""
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    run = ReferenceEvaluator(model)
    y = x
    names = {layer.name: f"{layer.name}_" for layer in converted.layers}
    for index, layer in enumerate(converted.layers):
        start = np.maximum(y, 0) if index else y
        inputs = {f"{other}input": start for other in names.values()}
        y = run.run([f"{names[layer.name]}output"], inputs)[0]
    return y


OURS = {
    "o.pt": ("torch", by_torch),
    "o.safetensors": ("torch", by_torch),
    "o.h5": ("keras", by_keras),
    "o.msgpack": ("flax", by_flax),
    "o.onnx": ("onnx", by_onnx),
}


@pytest.mark.parametrize("target", OURS)
@pytest.mark.parametrize("name", models.RECORDED)
def test_a_file_of_ours_is_loaded_by_the_framework(name: str, target: str, tmp_path: Path) -> None:
    """And computes what the framework that wrote the first file has recorded."""
    dialect, load = OURS[target]
    x, y = models.arrays(name)
    converted, _ = files.convert_model(
        models.read(name), tmp_path / target, dialect, allow_loss=True
    )
    # Keras allows no "/" in the name of a layer, and Flax takes it for a module in a module.
    plain = (replace(layer, name=layer.name.replace("/", "_")) for layer in converted.layers)
    converted = replace(converted, layers=tuple(plain), content=None)  # a new file, not the old
    files.write(tmp_path / target, converted)
    assert parts(load(tmp_path / target, converted, x), y) <= FILE_OUTPUT


def test_a_keras_model_with_new_values_is_loaded_whole(tmp_path: Path) -> None:
    """The archive that was written over is a model for Keras, with all that it had."""
    path, _ = keras_net(tmp_path, "k.keras")
    model = files.read(path)
    first = replace(
        model.layers[0], state={**model.layers[0].state, "beta": np.arange(C, dtype=np.float32)}
    )
    files.write(tmp_path / "new.keras", replace(model, layers=(first, *model.layers[1:])))
    new, old = keras.models.load_model(tmp_path / "new.keras"), keras.models.load_model(path)
    assert new.get_layer("a").beta.numpy().tolist() == [0.0, 1.0, 2.0, 3.0, 4.0]
    ours = {v.path: np.asarray(v) for v in new.variables if v.path != "a/beta"}
    for variable in old.variables:
        if variable.path != "a/beta":
            np.testing.assert_array_equal(ours[variable.path], np.asarray(variable), strict=True)

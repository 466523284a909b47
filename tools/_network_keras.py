"""Read the batch normalizations of Keras and TensorFlow.js, without them and without backnorm."""

from __future__ import annotations

import io
import json
import zipfile
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from _network_norms import SPELLINGS, Norm, norm_of, norms_in

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path


def read_h5(path: Path) -> list[Norm]:
    """Read a whole model or weights in the format of Keras 2, which Keras 3 writes to .h5 too.

    A layer's group has its name. The variables' own names may differ: Keras numbers them.
    """
    import h5py  # noqa: PLC0415 - it is needed for this format only

    norms = []
    with h5py.File(path) as file:
        config = file.attrs.get("model_config")
        eps = {} if config is None else _eps_by_name(json.loads(config))
        root = file.get("model_weights", file)
        for layer in map(_text, root.attrs["layer_names"]):
            group = root[layer]
            names = [_text(name).removesuffix(":0") for name in group.attrs["weight_names"]]
            arrays = {name: group.get(name, group.get(f"{name}:0"))[()] for name in names}
            inside = norms_in(arrays, SPELLINGS["keras"])
            full = [layer if len(inside) == 1 else f"{layer}/{norm.name}" for norm in inside]
            norms += [
                replace(norm, name=name, eps=eps.get(name.rpartition("/")[2]))
                for norm, name in zip(inside, full, strict=True)
            ]
    return norms


def _text(name: str | bytes) -> str:
    return name.decode() if isinstance(name, bytes) else name


def _eps_by_name(config: Mapping[str, Any]) -> dict[str, float]:
    """Return eps of every batch normalization in a configuration, by the layer's own name."""
    inside = config["config"]
    if config["class_name"] == "BatchNormalization":
        return {inside["name"]: inside["epsilon"]}
    layers = inside if isinstance(inside, list) else inside.get("layers", [])
    return {name: eps for layer in layers for name, eps in _eps_by_name(layer).items()}


def read_keras(path: Path) -> list[Norm]:
    """Read an archive of Keras 3, which numbers the layers of a class and their variables."""
    import h5py  # noqa: PLC0415

    with zipfile.ZipFile(path) as archive:
        config = json.loads(archive.read("config.json"))
        weights = io.BytesIO(archive.read("model.weights.h5"))
    with h5py.File(weights) as file:
        return list(_numbered(file["layers"], config, ""))


def _numbered(group: Any, config: Mapping[str, Any], before: str) -> Iterator[Norm]:
    """Yield the layers of a model and of the models in it."""
    kinds = {"BatchNormalization": "batch_normalization", "Functional": "functional"}
    used: dict[str, int] = {}
    for layer in config["config"]["layers"]:
        if (kind := kinds.get(layer["class_name"])) is None:
            continue
        number = used[kind] = used.get(kind, -1) + 1
        node, inside = group[f"{kind}_{number}" if number else kind], layer["config"]
        if kind == "functional":
            yield from _numbered(node["layers"], layer, f"{before}{inside['name']}/")
        else:
            arrays = iter(node["vars"][str(index)][()] for index in range(len(node["vars"])))
            gamma, beta = (next(arrays) if inside[k] else None for k in ("scale", "center"))
            name = before + inside["name"]
            yield norm_of(name, gamma, beta, *arrays, eps=inside["epsilon"])


def read_tfjs(path: Path) -> list[Norm]:
    """Read a layers model of TensorFlow.js: model.json, and the shards beside it."""
    model = json.loads(path.read_text(encoding="utf-8"))
    arrays = {}
    for group in model["weightsManifest"]:
        data = b"".join((path.parent / name).read_bytes() for name in group["paths"])
        for weight in group["weights"]:
            scale = weight.get("quantization")
            dtype = np.dtype(scale["dtype"] if scale else weight["dtype"])
            size = int(np.prod(weight["shape"])) * dtype.itemsize
            values = np.frombuffer(data[:size], dtype).reshape(weight["shape"])
            wide = values * scale["scale"] + scale["min"] if scale else values
            arrays[weight["name"]], data = wide, data[size:]
    eps = _eps_by_name(model["modelTopology"]["model_config"])
    norms = norms_in(arrays, SPELLINGS["keras"])
    return [replace(norm, eps=eps[norm.name]) for norm in norms]

"""Make the seeds of the fuzz targets, ``FORMAT/seed*``; other files here have once shown a fault.

Small files with what the samples of the frameworks do not have: other dialects, dtypes, shapes and
ways of storing. Run: ``.venv/bin/python tests/files/corpus/make_seeds.py``.
"""

from __future__ import annotations

import io
import json
import shutil
import zipfile
from pathlib import Path

import h5py
import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from safetensors.numpy import save_file

from backnorm.convert import files
from backnorm.convert.files.registry import FORMATS, format_of

CORPUS = Path(__file__).parent

C = np.array([1.5, 2.0], np.float32)
FIELDS = {
    "torch": ("weight", "bias", "running_mean", "running_var"),
    "keras": ("gamma", "beta", "moving_mean", "moving_variance"),
    "flax": ("scale", "bias", "mean", "var"),
    "mxnet": ("gamma", "beta", "moving_mean", "moving_var"),
    "onnx-15": ("scale", "B", "input_mean", "input_var"),
}


def state(dialect: str) -> dict[str, np.ndarray]:
    """A layer's arrays, each with other values."""
    if dialect == "caffe":
        scale_factor = np.ones(1, np.float32)
        fields = {"mean": C, "variance": 2 * C, "scale_factor": scale_factor}
        return {**fields, "gamma": 3 * C, "beta": 4 * C}
    return {field: (1 + index) * C for index, field in enumerate(FIELDS[dialect])}


def folder_of(format_: str, name: str) -> Path:
    """An empty folder for a seed of several files."""
    folder = CORPUS / format_ / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def new_files() -> None:
    """What backnorm itself writes."""
    others = {"scalar": np.float32(7), "empty": np.zeros((0, 3), np.float32)}
    others |= {"numbers": np.arange(6, dtype=np.int32).reshape(1, 2, 3)}
    for name, home in FORMATS.items():
        format_ = format_of(Path(), name)
        if not format_.makes_new:
            continue
        for dialect in format_.dialects:
            if dialect not in (*FIELDS, "caffe"):
                continue
            path = CORPUS / name / f"seed-{dialect}{home.suffixes[0]}"
            path.parent.mkdir(exist_ok=True)
            layer = files.NormLayer("bn", dialect, state(dialect))
            files.write(path, files.ModelFile(path, name, (layer,), others))


def npz() -> None:
    """Other orders of bytes and of axes, a second version of the header, records and text."""
    arrays = {"big": np.arange(3, dtype=">f8"), "fortran": np.asfortranarray(np.ones((2, 3)))}
    arrays |= {"text": np.array(["a", "bc"]), "half": np.ones(2, np.float16)}
    arrays |= {"record": np.zeros(1, [("a", "<i4"), ("b", ">f4")]), "date": np.zeros(1, "M8[s]")}
    named = {f"l.{field}": value for field, value in state("torch").items()}
    np.savez_compressed(CORPUS / "npz" / "seed-stored.npz", **arrays, **named)


def checkpoints() -> None:
    """Nested, with shared storages, other dtypes and layouts; and as before PyTorch 1.6."""
    tensors = {f"l.{field}": torch.from_numpy(value) for field, value in state("torch").items()}
    storage = torch.arange(6.0)
    tensors |= {"row": storage[:3], "column": storage.view(2, 3).t(), "none": torch.zeros(0)}
    tensors |= {"brain": torch.ones(2, dtype=torch.bfloat16), "complex": torch.ones(1).cfloat()}
    checkpoint = {"state_dict": tensors, "epoch": 3, "list": [storage, {"a": (1, None)}]}
    torch.save(checkpoint, CORPUS / "torch" / "seed-nested.pt")
    old = CORPUS / "torch" / "seed-old.pt"
    torch.save(tensors, old, _use_new_zipfile_serialization=False)


def graphs() -> None:
    """Constant nodes, Identity nodes, and values in a file beside."""
    names = ("scale", "B", "mean", "var")
    tensors = [numpy_helper.from_array((1 + i) * C, name) for i, name in enumerate(names)]
    constant = helper.make_node("Constant", [], ["scale"], value=tensors[0])
    identity = helper.make_node("Identity", ["B"], ["B1"])
    norm = helper.make_node(
        "BatchNormalization", ["x", "scale", "B1", "mean", "var"], ["y"], epsilon=1e-3
    )
    graph = helper.make_graph([constant, identity, norm], "g", [], [], tensors[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)])
    (CORPUS / "onnx" / "seed-constant.onnx").write_bytes(model.SerializeToString())
    folder = folder_of("onnx", "seed-external")
    (folder / "w.bin").write_bytes(C.tobytes() * 2)
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[4])
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in {"location": "w.bin", "offset": "0", "length": "16"}.items():
        tensor.external_data.add(key=key, value=value)
    model.graph.initializer.append(tensor)
    onnx.save(model, folder / "m.onnx")


def folds() -> None:
    """A convolution before a norm, which can be folded."""
    kernel = np.arange(4, dtype=np.float32).reshape(2, 2, 1, 1)
    named = {"conv1.weight": kernel, "conv1.bias": C}
    named |= {f"bn1.{field}": value for field, value in state("torch").items()}
    np.savez(CORPUS / "npz" / "seed-fold.npz", **named)
    tensors = {name: torch.from_numpy(value) for name, value in named.items()}
    torch.save(tensors, CORPUS / "torch" / "seed-fold.pt")
    save_file(named, CORPUS / "safetensors" / "seed-fold.safetensors")
    arrays = {"w": kernel, "scale": C, "B": C, "mean": C, "var": C}
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["z"]),
        helper.make_node("BatchNormalization", ["z", "scale", "B", "mean", "var"], ["y"]),
    ]
    ends = [
        helper.make_tensor_value_info(n, TensorProto.FLOAT, [1, 2, None, None]) for n in ("x", "y")
    ]
    initializers = [numpy_helper.from_array(array, name) for name, array in arrays.items()]
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:], initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 15)])
    (CORPUS / "onnx" / "seed-fold.onnx").write_bytes(model.SerializeToString())


def networks() -> None:
    """Parameters with the file that describes their network."""
    folder = folder_of("caffemodel", "seed-net")
    shutil.copy(CORPUS / "caffemodel" / "seed-caffe.caffemodel", folder / "m.caffemodel")
    (folder / "m.prototxt").write_text(
        'name: "n" # a comment\nlayer { name: "bn" type: "BatchNorm" bottom: "x" top: "y"\n'
        "  batch_norm_param { eps: 1e-3 moving_average_fraction: .9 use_global_stats: true } }\n"
        'layer { name: "s" type: "Scale" bottom: "y" top: "y" scale_param { bias_term: true } }\n'
    )
    folder = folder_of("mxnet", "seed-symbol")
    names = ("arg:bn_gamma", "arg:bn_beta", "aux:bn_moving_mean", "aux:bn_moving_var")
    arrays = dict(zip(names, state("mxnet").values(), strict=True))
    files.write(folder / "m-0001.params", files.ModelFile(Path(), "mxnet", (), arrays))
    plain = ["data", *(name.partition(":")[2] for name in names)]
    nodes = [{"op": "null", "name": name, "inputs": []} for name in plain]
    inputs = [[index, 0, 0] for index in range(5)]
    attributes = {"eps": "1e-3", "fix_gamma": "False", "momentum": "0.9"}
    nodes.append({"op": "BatchNorm", "name": "bn", "inputs": inputs, "attrs": attributes})
    symbol = {"nodes": nodes, "arg_nodes": list(range(5)), "heads": [[5, 0, 0]]}
    (folder / "m-symbol.json").write_text(json.dumps(symbol))


def keras() -> None:
    """A configuration with a nested model, and weights in numbered groups."""
    layer = {"class_name": "BatchNormalization", "config": {"name": "bn", "epsilon": 1e-3}}
    nested = {"class_name": "Sequential", "config": {"name": "net", "layers": [layer]}}
    config = {"class_name": "Sequential", "config": {"name": "all", "layers": [nested]}}
    stream = io.BytesIO()
    with h5py.File(stream, "w", libver="latest") as file:
        for index, value in enumerate(state("keras").values()):
            file[f"layers/sequential/layers/batch_normalization/vars/{index}"] = value
    (CORPUS / "keras").mkdir(exist_ok=True)
    with zipfile.ZipFile(CORPUS / "keras" / "seed-small.keras", "w") as archive:
        for name, content in {
            "metadata.json": json.dumps({"keras_version": "3.0.0"}),
            "config.json": json.dumps(config),
            "model.weights.h5": stream.getvalue(),
        }.items():
            archive.writestr(zipfile.ZipInfo(name), content)
    (CORPUS / "h5" / "seed-small.weights.h5").write_bytes(stream.getvalue())


if __name__ == "__main__":
    new_files()
    npz()
    checkpoints()
    graphs()
    folds()
    networks()
    keras()

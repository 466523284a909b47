"""TensorFlow.js, SavedModel and TensorFlow Lite: what is read, and what is refused."""

from __future__ import annotations

import json
import shutil
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from backnorm.convert import files
from backnorm.convert.files._budget import Source, budget_of
from backnorm.convert.files._content import InMemory
from backnorm.convert.files.tensorflow import savedmodel, tflite
from backnorm.errors import FileError, NotInstalledError
from files import models

TFJS = models.SAMPLES / "tfjs"
STEP = {"tfjs_half": 1e-3, "tfjs_uint16": 4e-5, "tfjs_uint8": 8e-3}
"""The largest difference that each quantization may leave: half of its step."""


@pytest.mark.parametrize("folder", STEP)
def test_quantized_weights_are_near_those_that_are_not(folder: str) -> None:
    """Whole numbers times a scale, and a least value; or float16."""
    exact, near = files.read(TFJS), files.read(models.SAMPLES / folder)
    for before, after in zip(exact.layers, near.layers, strict=True):
        assert before.options == after.options
        for field, array in before.state.items():
            assert after.state[field].dtype == np.float32
            assert np.abs(array - after.state[field]).max() < STEP[folder]


def test_the_folder_of_a_model_stands_for_it() -> None:
    """Its model.json, which describes the rest."""
    assert files.read(TFJS).path == TFJS / "model.json"


def test_a_graph_model_says_that_batch_norm_is_folded() -> None:
    """It was a convolution, and a multiplication and an addition."""
    model = files.read(models.SAMPLES / "tfjs_graph")
    assert model.layers == ()
    assert model.folded.startswith("the graph has 1 _FusedConv2D, 1 Mul, 1 Add, and no Fused")
    with pytest.raises(FileError, match="and no FusedBatchNorm: the converter folds"):
        files.convert_model(model, Path("a.npz"), "torch")


def graph(folder: Path, **changes: Any) -> Path:
    """A graph-model with a normalization node, one of whose inputs is behind an Identity."""
    names = ["gamma", "beta", "mean", "var"]
    norm = {
        "name": "n",
        "op": "FusedBatchNormV3",
        "input": ["x", "copy", "beta:0", "mean", "var"],
        "attr": {"epsilon": {"f": 0.25}},
    } | changes
    copy = {"name": "copy", "op": "Identity", "input": ["gamma"]}
    weights = [{"name": name, "shape": [2], "dtype": "float32"} for name in names]
    document = {
        "modelTopology": {"node": [norm, copy]},
        "weightsManifest": [{"paths": ["w.bin"], "weights": weights}],
    }
    (folder / "model.json").write_text(json.dumps(document))
    (folder / "w.bin").write_bytes(np.arange(8, dtype="<f4").tobytes())
    return folder / "model.json"


def test_a_normalization_node_is_a_layer(tmp_path: Path) -> None:
    """With its epsilon, and parameters behind Identity nodes."""
    (layer,) = files.read(graph(tmp_path)).layers
    assert (layer.name, layer.options, layer.untold) == ("n", {"epsilon": 0.25}, ("momentum",))
    assert {key: list(array) for key, array in layer.state.items()} == {
        "gamma": [0, 1],
        "beta": [2, 3],
        "moving_mean": [4, 5],
        "moving_variance": [6, 7],
    }


def test_a_node_whose_parameters_are_computed_is_left_alone(tmp_path: Path) -> None:
    """With a note, and its weights among the others."""
    model = files.read(graph(tmp_path, input=["x", "copy", "y", "mean", "var"]))
    assert model.layers == ()
    assert model.notes == ("n: not all of its parameters are weights; it is left alone",)
    assert len(model.others) == 4


def changed(folder: Path, **changes: Any) -> Path:
    """The sample with other entries in its manifest; `weight` changes the first weight alone."""
    shutil.copytree(TFJS, folder, dirs_exist_ok=True)
    document = json.loads((folder / "model.json").read_text())
    group = document["weightsManifest"][0]
    weight = changes.pop("weight", {})
    group.update(changes)
    if isinstance(group["weights"], list):
        group["weights"][0] |= weight
    (folder / "model.json").write_text(json.dumps(document))
    return folder / "model.json"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"paths": ["../w.bin"]}, r"weightsManifest, paths leads out of the file's folder"),
        ({"paths": [1]}, r"weightsManifest, paths must be names, got list"),
        ({"paths": []}, r"dense/kernel must have 32 more bytes, got 0"),
        ({"weights": 3}, r"weightsManifest, weights must be a list of objects, got int"),
        ({"weight": {"shape": [-1]}}, r"weightsManifest, weights must have names and shapes"),
        ({"weight": {"shape": [1 << 40]}}, r"dense/kernel must have 4398046511104 more bytes"),
        ({"weight": {"dtype": "string"}}, r"dense/kernel must have one of the dtypes float32"),
        ({"weight": {"dtype": ["a"]}}, r"dense/kernel must have one of the dtypes float32"),
        ({"weight": {"quantization": {"dtype": "int3"}}}, r"one of the dtypes uint8, uint16, fl"),
        (
            {"weight": {"quantization": {"dtype": "uint8", "scale": "a", "min": 0}}},
            r"dense/kernel, quantization must have numbers, got 'a'",
        ),
        ({"weight": {"name": "first/beta"}}, r"first/beta must be one weight, got two"),
    ],
)
def test_a_damaged_manifest_is_refused(
    changes: dict[str, Any], message: str, tmp_path: Path
) -> None:
    """Naming the file and the weight."""
    with pytest.raises(FileError, match=rf"^model\.json, {message}|^model\.json.* {message}"):
        files.read(changed(tmp_path, **changes))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"attr": {"epsilon": {"f": "a"}}}, r"layer n, epsilon must be a number, got 'a'"),
        ({"attr": {"epsilon": {"f": -1}}}, r"layer n, epsilon must be a number, got -1"),
    ],
)
def test_a_damaged_graph_is_refused(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    """Naming the layer."""
    with pytest.raises(FileError, match=message):
        files.read(graph(tmp_path, **changes))


@pytest.mark.parametrize("topology", [3, {"node": 3}, {"node": [3]}])
def test_a_topology_that_is_not_one_is_refused(topology: object, tmp_path: Path) -> None:
    """Whatever it is."""
    document = {"modelTopology": topology, "weightsManifest": []}
    (tmp_path / "model.json").write_text(json.dumps(document))
    with pytest.raises(FileError, match=r"^model\.json, modelTopology"):
        files.read(tmp_path / "model.json")


# --- TensorFlow Lite ---------------------------------------------------------------------------

LITE = models.SAMPLES / "tensorflow.tflite"


def test_a_lite_model_has_arrays_and_no_layer() -> None:
    """Its operators are counted."""
    model = files.read(LITE)
    assert model.layers == ()
    words = "the graph has 1 CONV_2D, 1 MUL, 1 ADD and 1 other operators; TensorFlow Lite folds"
    assert model.folded.startswith(words)
    assert max(array.shape for array in model.others.values()) == (4, 3, 3, 4)


def test_a_type_without_values_for_numpy_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """Such as text and 4-bit numbers."""
    monkeypatch.setattr(tflite, "DTYPES", {})
    model = files.read(LITE)
    assert model.notes == ("4 tensors of text or of 4-bit numbers are not read",)


@pytest.mark.parametrize(
    ("at", "content", "message"),
    [
        (4, b"TFL9", r"bytes 4 to 8 must be TFL3, got b'TFL9'"),
        (0, struct.pack("<I", 1 << 31), r"byte 2147483648 must have 4 more bytes, got 0"),
    ],
)
def test_a_damaged_lite_model_is_refused(
    at: int, content: bytes, message: str, tmp_path: Path
) -> None:
    """Naming the place."""
    data = bytearray(LITE.read_bytes())
    data[at : at + len(content)] = content
    (tmp_path / "m.tflite").write_bytes(data)
    with pytest.raises(FileError, match=rf"^m\.tflite, {message}"):
        files.read(tmp_path / "m.tflite")


# --- SavedModel --------------------------------------------------------------------------------

SAVED = models.SAMPLES / "savedmodel"

REPLAYED = """
import sys
from pathlib import Path
prefix = Path(sys.argv[1])
assert prefix.with_suffix(".index").is_file()
sys.stdout.buffer.write((prefix.parents[1] / "child.npz").read_bytes())
"""
"""A child that gives what TensorFlow's reader gave when the sample was made."""


def read_saved(folder: Path, child: Path) -> files.ModelFile:
    """Read a SavedModel with another child in place of TensorFlow's."""
    path = folder / "saved_model.pb"
    source = Source(path, InMemory(path.read_bytes()), None, budget_of(path.name, 64, None))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(savedmodel, "CHILD", child)
        return savedmodel.read(source)


def test_a_saved_model_has_the_layers_of_its_variables(tmp_path: Path) -> None:
    """By the names that they had in the program; eps is untold."""
    (tmp_path / "child.py").write_text(REPLAYED)
    model, exact = read_saved(SAVED, tmp_path / "child.py"), files.read(TFJS)
    assert [layer.name for layer in model.layers] == ["first", "second"]
    assert model.layers[0].untold == ("epsilon", "momentum")
    assert set(model.others) == {"dense/kernel", "dense/bias"}
    for got, wanted in zip(model.layers, exact.layers, strict=True):
        for field, array in wanted.state.items():
            np.testing.assert_array_equal(got.state[field], array, strict=True)


@pytest.mark.parametrize(
    ("child", "message"),
    [
        ("raise SystemExit('no')", r"tensorflow failed on saved_model\.pb: exit status 1, no\."),
        ("print('no array')", r"saved_model\.pb cannot be read by numpy: ValueError"),
    ],
)
def test_a_reader_that_fails_is_named(child: str, message: str, tmp_path: Path) -> None:
    """With what it said last."""
    (tmp_path / "child.py").write_text(child)
    with pytest.raises(FileError, match=message):
        read_saved(SAVED, tmp_path / "child.py")


def test_a_reader_that_does_not_end_is_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After some time."""
    monkeypatch.setattr(savedmodel, "SECONDS", 0.2)
    (tmp_path / "child.py").write_text("import time; time.sleep(60)")
    with pytest.raises(FileError, match=r"tensorflow failed on .*: no answer within 0\.2 s"):
        read_saved(SAVED, tmp_path / "child.py")


def test_a_saved_model_without_variables_is_refused(tmp_path: Path) -> None:
    """A file of that name alone."""
    shutil.copy(SAVED / "saved_model.pb", tmp_path)
    with pytest.raises(FileError, match=r"variables/variables\.index is not in the file, which h"):
        read_saved(tmp_path, tmp_path / "child.py")


def test_without_tensorflow_the_command_that_installs_it_is_named() -> None:
    """And a SavedModel is refused as a target whether it is there or not."""
    model = files.read(TFJS)
    with pytest.raises(FileError, match=r"^a\.pb cannot be written: files of the format savedmod"):
        files.convert_model(model, Path("a.pb"), "keras")
    with pytest.raises(NotInstalledError, match=r"pip install 'backnorm\[tensorflow\]'"):
        files.read(SAVED)

"""Files that frameworks wrote: read, converted, written, and held to what they recorded."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from backnorm.convert import files
from backnorm.testing.budget import FILE_OUTPUT, parts
from files import formulas, models

if TYPE_CHECKING:
    from pathlib import Path

TARGETS = {
    "t.pt": ("torch", "torch"),
    "t.safetensors": ("torch", "safetensors"),
    "t.npz": ("keras", "npz"),
    "t.h5": ("keras", "h5"),
    "t.msgpack": ("flax", "msgpack"),
    "t.onnx": ("onnx-15", "onnx"),
    "t.params": ("mxnet", "mxnet"),
    "t.caffemodel": ("caffe", "caffemodel"),
}
"""A new file of each format, and whose layers it gets."""


@pytest.mark.parametrize("name", models.RECORDED)
def test_what_was_read_computes_what_was_recorded(name: str) -> None:
    """By the textbook's formula, from the arrays and options of the file alone."""
    x, y = models.arrays(name)
    assert parts(formulas.output(models.read(name), x), y) <= FILE_OUTPUT


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("name", models.RECORDED)
def test_a_converted_file_computes_what_was_recorded(
    name: str, target: str, tmp_path: Path
) -> None:
    """Converted, written, read back, and computed with the options that the table shows."""
    dialect, format_ = TARGETS[target]
    models.need(format_)
    x, y = models.arrays(name)
    model = models.read(name)
    converted, changes = files.convert_model(model, tmp_path / target, dialect, allow_loss=True)
    files.write(tmp_path / target, converted)
    back = {layer.name: layer for layer in files.read(tmp_path / target).layers}
    layers = tuple(replace(back[layer.name], options=layer.options) for layer in converted.layers)
    assert [layer.dialect for layer in layers] == [dialect] * len(model.layers)
    assert parts(formulas.output(replace(converted, layers=layers), x), y) <= FILE_OUTPUT
    assert max(change.largest for change in changes) <= FILE_OUTPUT


@pytest.mark.parametrize("name", models.RECORDED)
def test_a_file_written_back_has_the_same_bytes(name: str, tmp_path: Path) -> None:
    """Where nothing was changed, nothing is."""
    path = models.RECORDED[name].path
    models.need(models.RECORDED[name].format)
    files.write(tmp_path / path.name, files.read(path))
    assert (tmp_path / path.name).read_bytes() == path.read_bytes()


@pytest.mark.parametrize("name", models.RECORDED)
def test_only_the_layers_change(name: str, tmp_path: Path) -> None:
    """New values come back in their own places, and all other arrays are as they were."""
    model = models.read(name)
    layers = tuple(
        replace(
            layer, state={key: array + array.dtype.type(1) for key, array in layer.state.items()}
        )
        for layer in model.layers
    )
    path = tmp_path / model.path.name
    files.write(path, replace(model, layers=layers))
    back = files.read(path, net=None)
    got = {layer.name: layer.state for layer in back.layers}
    for layer in layers:
        for field, array in layer.state.items():
            np.testing.assert_array_equal(got[layer.name][field], array, strict=True)
    assert list(back.others) == list(model.others)
    for key, array in model.others.items():
        assert back.others[key].tobytes() == array.tobytes()


@pytest.mark.parametrize("name", ["caffemodel", "params", "keras", "safetensors"])
def test_a_change_of_one_number_changes_its_bytes_alone(name: str, tmp_path: Path) -> None:
    """Where a format is written over in place: 4 bytes at most differ."""
    case = {
        "caffemodel": "c046m.caffemodel",
        "params": "gluon.params",
        "keras": "keras.h5",
        "safetensors": "torch.safetensors",
    }[name]
    model = models.read(case)
    first = model.layers[0]
    field = next(iter(first.state))
    array = first.state[field].copy()
    array[1] += 1
    layers = (replace(first, state={**first.state, field: array}), *model.layers[1:])
    files.write(tmp_path / "new", replace(model, layers=layers))
    old, new = model.path.read_bytes(), (tmp_path / "new").read_bytes()
    different = [index for index in range(len(old)) if old[index] != new[index]]
    assert len(old) == len(new)
    assert 1 <= len(different) <= 4
    assert max(different) - min(different) < 4


@pytest.mark.parametrize(
    "target", ["t.pt", "t.safetensors", "t.npz", "t.h5", "t.msgpack", "t.onnx"]
)
def test_other_arrays_are_carried_under_their_names(target: str, tmp_path: Path) -> None:
    """Also bfloat16, where the target has it."""
    dialect, format_ = TARGETS[target]
    models.need(format_)
    model = models.read("keras.keras")
    converted, _ = files.convert_model(model, tmp_path / target, dialect, allow_loss=True)
    files.write(tmp_path / target, converted)
    back = files.read(tmp_path / target).others
    assert set(back) == set(model.others)
    for key, array in model.others.items():
        np.testing.assert_array_equal(back[key], array, strict=True)


def test_bfloat16_is_carried_bit_by_bit(tmp_path: Path) -> None:
    """A .safetensors file's bfloat16 weights go through MXNet's format and back."""
    model = models.read("torch.safetensors")
    assert model.others["dense.weight"].dtype.name == "bfloat16"
    there, _ = files.convert_model(model, tmp_path / "t.params", "mxnet", allow_loss=True)
    files.write(tmp_path / "t.params", there)
    back = files.read(tmp_path / "t.params").others["dense.weight"]
    assert back.dtype.name == "bfloat16"
    assert back.tobytes() == model.others["dense.weight"].tobytes()


@pytest.mark.parametrize("name", ["torch.pt", "flax.msgpack", "keras.keras"])
def test_there_and_back_is_the_same(name: str, tmp_path: Path) -> None:
    """Between dialects that keep the same estimate, through a file of the other's."""
    model = models.read(name)
    own, (other, file) = {
        "torch.pt": ("torch", ("caffe", "t.caffemodel")),
        "flax.msgpack": ("flax", ("keras", "t.npz")),
        "keras.keras": ("keras", ("flax", "t.npz")),
    }[name]
    there, _ = files.convert_model(model, tmp_path / file, other)
    files.write(tmp_path / file, there)
    read = files.read(tmp_path / file)
    options = {layer.name: layer.options for layer in there.layers}
    layers = tuple(replace(layer, options=options[layer.name]) for layer in read.layers)
    back, _ = files.convert_model(replace(read, layers=layers), tmp_path / "b.npz", own)
    got = {layer.name: layer.state for layer in back.layers}
    for layer in model.layers:
        for field in layer.state.keys() - {"num_batches_tracked"}:
            np.testing.assert_array_equal(got[layer.name][field], layer.state[field], strict=True)


@pytest.mark.parametrize("target", ["t.onnx", "t.caffemodel"])
def test_eps_is_in_the_file_where_the_format_has_it(target: str, tmp_path: Path) -> None:
    """Read back, it is what was converted, to the digits of float32."""
    dialect, format_ = TARGETS[target]
    models.need(format_)
    model = models.read("symbol.params")
    converted, _ = files.convert_model(model, tmp_path / target, dialect, allow_loss=True)
    files.write(tmp_path / target, converted)
    name = {"t.onnx": "epsilon", "t.caffemodel": "eps"}[target]
    back = [layer.options[name] for layer in files.read(tmp_path / target).layers]
    assert back == [np.float32(2e-5), np.float32(1e-3)]

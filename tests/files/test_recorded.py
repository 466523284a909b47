"""Files that frameworks wrote: read, converted, written, and held to what they recorded."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from backnorm.convert import files
from backnorm.convert.files._slots import Slots
from backnorm.convert.files.npz import FORMAT as NPZ
from backnorm.convert.files.registry import format_of
from backnorm.dialects import row_of
from backnorm.testing.budget import FILE_OUTPUT, SAME_OUTPUT, parts
from files import formulas, models
from files.documented import DOCUMENTED

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("name", models.RECORDED)
def test_what_was_read_computes_what_was_recorded(name: str) -> None:
    """By the textbook's formula, from the arrays and options of the file alone."""
    x, y = models.arrays(name)
    assert parts(formulas.output(models.read(name), x), y) <= FILE_OUTPUT


@pytest.mark.sampled(3)
@pytest.mark.parametrize("format_", models.NEW)
@pytest.mark.parametrize("name", models.RECORDED)
def test_a_converted_file_computes_what_was_recorded(
    name: str, format_: str, tmp_path: Path
) -> None:
    """Converted to each dialect of the format, written, read back, and computed."""
    models.need_new(format_)
    x, y = models.arrays(name)
    model, path = models.read(name), models.new_file(tmp_path, format_)
    kind = format_of(path)
    whole = kind.keeps_versions and model.format == format_  # onnx converts no model downwards
    for dialect in {layer.dialect for layer in model.layers} if whole else kind.dialects:
        converted, changes = files.convert_model(model, path, dialect, allow_loss=True)
        files.write(path, converted)
        told = models.FILES[name].options if converted.content is not None else ()
        back = {layer.name: layer for layer in files.read(path, settings=told).layers}
        layers = tuple(replace(back[new.name], options=new.options) for new in converted.layers)
        assert [layer.dialect for layer in layers] == [dialect] * len(model.layers)
        assert parts(formulas.output(replace(converted, layers=layers), x), y) <= FILE_OUTPUT
        assert max(change.largest for change in changes) <= FILE_OUTPUT


@pytest.mark.parametrize("name", models.WRITABLE)
def test_a_file_written_back_has_the_same_bytes(name: str, tmp_path: Path) -> None:
    """Where nothing was changed, nothing is."""
    path = models.FILES[name].path
    files.write(tmp_path / path.name, models.read(name))
    assert (tmp_path / path.name).read_bytes() == path.read_bytes()


@pytest.mark.parametrize("name", models.WRITABLE)
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
    back = files.read(path, settings=models.FILES[name].options)
    got = {layer.name: layer.state for layer in back.layers}
    for layer in layers:
        for field, array in layer.state.items():
            np.testing.assert_array_equal(got[layer.name][field], array, strict=True)
    assert list(back.others) == list(model.others)
    for key, array in model.others.items():
        assert back.others[key].tobytes() == array.tobytes()


@pytest.mark.parametrize("name", models.WRITABLE)
def test_a_change_of_one_number_changes_its_bytes_alone(name: str, tmp_path: Path) -> None:
    """Where a format is written over in place, 4 bytes at most differ."""
    model = models.read(name)
    first = model.layers[0]
    field = next(iter(first.state))
    array = first.state[field].copy()
    array[1] += 1
    layers = (replace(first, state={**first.state, field: array}), *model.layers[1:])
    files.write(tmp_path / "new", replace(model, layers=layers))
    old, new = model.path.read_bytes(), (tmp_path / "new").read_bytes()
    assert old != new
    if isinstance(model.content, Slots):
        different = [index for index in range(len(old)) if old[index] != new[index]]
        assert len(old) == len(new)
        assert max(different) - min(different) < 4


@pytest.mark.parametrize("format_", models.NEW)
def test_other_arrays_are_carried_under_their_names(format_: str, tmp_path: Path) -> None:
    """Kernels and their biases under the target's; a Caffe file has float32 alone."""
    models.need_new(format_)
    model, path = models.read("keras.keras"), models.new_file(tmp_path, format_)
    dialect = format_of(path).dialects[0]
    converted, _ = files.convert_model(model, path, dialect, allow_loss=True)
    files.write(path, converted)
    back = files.read(path).others
    assert set(back) == set(converted.others)
    for name, array in converted.others.items():
        np.testing.assert_array_equal(back[name], array)
        assert back[name].dtype in {array.dtype, np.dtype(np.float32)}


def test_bfloat16_is_carried_bit_by_bit(tmp_path: Path) -> None:
    """A .safetensors file's bfloat16 weights go through MXNet's format and back."""
    model = models.read("torch.safetensors")
    assert model.others["dense.weight"].dtype.name == "bfloat16"
    there, _ = files.convert_model(model, tmp_path / "t.params", "mxnet", allow_loss=True)
    files.write(tmp_path / "t.params", there)
    back = files.read(tmp_path / "t.params").others["dense.weight"]
    assert back.dtype.name == "bfloat16"
    assert back.tobytes() == model.others["dense.weight"].tobytes()


@pytest.mark.sampled(3)
@pytest.mark.parametrize("other", NPZ.dialects)
@pytest.mark.parametrize("name", models.RECORDED)
def test_there_and_back_is_the_same(name: str, other: str, tmp_path: Path) -> None:
    """Through a file of another dialect, every array that no loss names."""
    model, path = models.read(name), tmp_path / "t.npz"
    dialect = model.layers[0].dialect
    there, changes = files.convert_model(model, path, other, allow_loss=True)
    files.write(path, there)
    options = {layer.name: layer.options for layer in there.layers}
    read = files.read(path)
    layers = tuple(replace(layer, options=options[layer.name]) for layer in read.layers)
    back, _ = files.convert_model(replace(read, layers=layers), path, dialect, allow_loss=True)
    states = {layer.name: layer.state for layer in back.layers}
    lost = {change.name: " ".join(loss.what for loss in change.losses) for change in changes}
    for layer in model.layers:
        for array in row_of(dialect).arrays.known:
            excused = any(word in lost[layer.name] for word in EXCUSES.get(array.role, ()))
            if array.name in layer.state and not excused:
                stored, carried = layer.state[array.name], states[layer.name][array.name]
                assert parts(carried, stored) <= SAME_OUTPUT, array.name


EXCUSES = {
    "gamma": ("gamma",),
    "count": ("count of updates",),
    **dict.fromkeys(("mean", "var", "divisor"), ("divisor",)),
}
"""By an array's role, words of the losses that change it."""


@pytest.mark.parametrize("format_", models.NEW)
def test_eps_is_in_a_new_file_where_the_documentation_says_so(format_: str, tmp_path: Path) -> None:
    """Read back, it is what was converted, in the precision of float32."""
    models.need_new(format_)
    model, path = models.read("symbol-0000.params"), models.new_file(tmp_path, format_)
    dialect = format_of(path).dialects[0]
    converted, _ = files.convert_model(model, path, dialect, allow_loss=True)
    files.write(path, converted)
    name = str(row_of(dialect).eps.known.name)
    back = [layer.options.get(name) for layer in files.read(path).layers]
    if DOCUMENTED[format_].eps.startswith("yes"):
        assert back == [np.float32(2e-5), np.float32(1e-3)]
    else:
        assert not set(back) & {2e-5, float(np.float32(2e-5))}

"""Arrays and names of all sorts: a new file holds them, or its writer refuses them."""

from __future__ import annotations

import json
import struct
import zipfile
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from backnorm.convert import files
from backnorm.convert.files.registry import format_of
from backnorm.errors import FileError
from files import models

if TYPE_CHECKING:
    from pathlib import Path

C = 3

STATE = {name: np.ones(C, np.float32) for name in ("gamma", "beta", "moving_mean")} | {
    "moving_variance": np.ones(C, np.float32)
}

NAMES = {
    "NUL": "a\0b",
    "dot": ".",
    "dots": "a/../b",
    "dot inside": "a/./b",
    "empty part": "a//b",
    "empty": "",
    "slash": "a/b",
    "slash first": "/a",
    "slash last": "a/",
    "line feed": "a\nb",
    "escape": "\x1b]0;owned\x07a",
    "no UTF-8": "a\udcff",
    "wide": "größe 数",
    "250 bytes": "n" * 250,
    "70000 bytes": "n" * 70_000,
    "metadata": "__metadata__",
    "ending": "a.npy",
}

ARRAYS = {
    "0-d": np.array(3.0, np.float32),
    "0-d int": np.array(7, np.int64),
    "no values": np.zeros((0, 2), np.float32),
    "big-endian": np.arange(4, dtype=">f4"),
    "Fortran order": np.asfortranarray(np.arange(6, dtype=np.float32).reshape(2, 3)),
    "truth": np.array([True, False]),
    "uint16": np.arange(4, dtype=np.uint16),
    "complex": np.array([1 + 2j], np.complex64),
    "text": np.array(["a", "bc"]),
    "bytes": np.array([b"a", b"bc"]),
    "dates": np.array(["2020-01-02"], "datetime64[D]"),
    "records": np.array([(1, 2.0)], [("a", "i4"), ("b", "f4")]),
    "objects": np.array([{}], object),
    "axes of length 1": np.ones((1, 3, 1), np.float32),
    "40 axes": np.ones((1,) * 40, np.float32),
}


def model_with(folder: Path, format_: str, others: dict[str, np.ndarray]) -> files.ModelFile:
    """A new file of a format, with one layer and other arrays."""
    models.need_new(format_)
    path = models.new_file(folder, format_)
    keras = files.ModelFile(folder / "k.npz", "npz", (files.NormLayer("bn", "keras", STATE),))
    dialect = format_of(path).dialects[0]
    converted, _ = files.convert_model(keras, path, dialect, n=9)
    return files.ModelFile(path, format_, converted.layers, others)


def carried(model: files.ModelFile) -> Any:
    """Return what the file holds of the other array, or None where the writer refuses it."""
    (name,) = model.others
    try:
        files.write(model.path, model)
    except FileError as error:
        words = str(error)
        assert words.isprintable()
        assert model.path.name in words
        assert not model.path.exists()
        return None
    others = dict(files.read(model.path).others)
    if model.format == "caffemodel":  # its arrays have the names of their layer and a number
        others = {key.removesuffix(".0"): array for key, array in others.items()}
    assert list(others) == [name]
    return others[name]


@pytest.mark.parametrize("format_", models.NEW)
@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_carried_or_refused(name: str, format_: str, tmp_path: Path) -> None:
    """And never made another name."""
    values = np.arange(4, dtype=np.float32)
    got = carried(model_with(tmp_path, format_, {NAMES[name]: values}))
    assert (got is None) <= (name not in {"slash", "wide", "250 bytes"})
    if got is not None:
        np.testing.assert_array_equal(got, values, strict=True)


@pytest.mark.parametrize("format_", models.NEW)
@pytest.mark.parametrize("kind", ARRAYS)
def test_an_array_is_carried_or_refused(kind: str, format_: str, tmp_path: Path) -> None:
    """With its shape and its values; Caffe has float32 alone."""
    array = ARRAYS[kind]
    got = carried(model_with(tmp_path, format_, {"a": array}))
    if got is None:
        assert kind not in list(ARRAYS)[:6]
        return
    if format_ == "caffemodel":
        array = array.astype(np.float32)
    np.testing.assert_array_equal(got, array)
    assert got.shape == array.shape
    assert got.dtype == array.dtype.newbyteorder("=")


@pytest.mark.parametrize("format_", ["h5", "msgpack"])
def test_a_name_within_an_array_is_refused(format_: str, tmp_path: Path) -> None:
    """Where names are paths of groups, an array cannot be a group."""
    array = np.ones(2, np.float32)
    model = model_with(tmp_path, format_, {"a/b": array, "a/b/c": array})
    with pytest.raises(FileError, match=r"a/b/c would be in .*a/b, which is an array"):
        files.write(model.path, model)


def test_groups_of_layers_and_arrays_may_be_in_each_other(tmp_path: Path) -> None:
    """A layer n/bn, and arrays in n/bn and in n."""
    models.need("h5")
    others = {"n/bn/w": np.ones(2, np.float32), "n/w": np.zeros(2, np.float32)}
    layer = files.NormLayer("n/bn", "keras", STATE)
    path = tmp_path / "m.h5"
    files.write(path, files.ModelFile(path, "h5", (layer,), others))
    back = files.read(path)
    assert [layer.name for layer in back.layers] == ["n/bn"]
    assert set(back.others) == set(others)


def test_a_list_of_names_longer_than_an_attribute_is_in_parts(tmp_path: Path) -> None:
    """As Keras writes it: an attribute of HDF5 has 64 KiB at most."""
    models.need("h5")
    layers = [files.NormLayer(f"{index:0250}", "keras", STATE) for index in range(600)]
    path = tmp_path / "m.h5"
    files.write(path, files.ModelFile(path, "h5", tuple(layers)))
    assert sorted(layer.name for layer in files.read(path).layers) == [x.name for x in layers]


def test_text_in_an_h5_file_is_left_alone(tmp_path: Path) -> None:
    """And named: it is not a number, and no fault of the file."""
    h5py = pytest.importorskip("h5py", reason="h5py is not installed; make test has it")
    with h5py.File(tmp_path / "m.h5", "w") as file:
        file["words"] = [b"a", b"b"]
        file["text"] = ["a", "b"]
        file["step"] = np.int64(3)
        file["nothing"] = h5py.Empty("f4")
    model = files.read(tmp_path / "m.h5")
    assert model.others["step"].shape == ()
    assert model.others["nothing"].shape == (0,)
    assert sorted(note.partition(" ")[0] for note in model.notes[-2:]) == ["text", "words"]
    assert "words is not an array of numbers" in " ".join(model.notes)


@pytest.mark.parametrize("dtype", ["bfloat16", "float8_e4m3fn", "float8_e5m2"])
def test_narrow_dtypes_pass_through_pytorchs_files(dtype: str, tmp_path: Path) -> None:
    """NumPy does not have them, PyTorch does."""
    ml_dtypes = pytest.importorskip("ml_dtypes", reason="ml_dtypes is missing; make test has it")
    values = np.arange(4).astype(getattr(ml_dtypes, dtype))
    got = carried(model_with(tmp_path, "torch", {"a": values}))
    np.testing.assert_array_equal(got, values, strict=True)


@pytest.mark.parametrize(
    ("shape", "descr"),
    [((0, 1 << 62, 1 << 62), "<f4"), ((1,) * 100, "<f4"), ((3,), "|V0"), ((3,), "<U0")],
)
def test_a_shape_that_numpy_cannot_have_is_refused(
    shape: tuple[int, ...], descr: str, tmp_path: Path
) -> None:
    """Though it needs no more bytes than are there."""
    header = repr({"descr": descr, "fortran_order": False, "shape": shape}).encode()
    header += b" " * (64 - (len(header) + 11) % 64) + b"\n"
    content = (
        b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + b"abcd" * (1 in shape)
    )
    with zipfile.ZipFile(tmp_path / "m.npz", "w") as archive:
        archive.writestr("a.npy", content)
    with pytest.raises(FileError, match=r"^m\.npz, a\.npy cannot be read by numpy: "):
        files.read(tmp_path / "m.npz")


def test_a_hundred_axes_of_a_safetensors_file_are_refused(tmp_path: Path) -> None:
    """NumPy has 64 at most."""
    models.need("safetensors")
    entry = {"dtype": "F32", "shape": [1] * 100, "data_offsets": [0, 4]}
    header = json.dumps({"a": entry}).encode()
    (tmp_path / "m.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + bytes(4))
    with pytest.raises(FileError, match=r"^m\.safetensors, a cannot be read by numpy"):
        files.read(tmp_path / "m.safetensors")


@pytest.mark.parametrize("shape", [[1 << 63], [0, 1 << 63], [-1], [1] * 100])
def test_lengths_of_a_msgpack_file_that_overflow_are_refused(
    shape: list[int], tmp_path: Path
) -> None:
    """They fit in no memory, or beside a 0 in no integer."""
    msgpack = pytest.importorskip("msgpack", reason="msgpack is not installed; make test has it")
    leaf = msgpack.packb([shape, "float32", bytes(4 * (0 not in shape))])
    (tmp_path / "m.msgpack").write_bytes(msgpack.packb({"a": msgpack.ExtType(1, leaf)}))
    with pytest.raises(FileError, match=r"^m\.msgpack, a "):
        files.read(tmp_path / "m.msgpack")


def test_messages_write_out_what_would_move_a_terminal(tmp_path: Path) -> None:
    """The name of an array is the choice of whoever made the file; a line feed is no line."""
    name = "\x1b]0;owned\x07b\nError: n"
    ones = np.ones(C, np.float32)
    np.savez(tmp_path / "m.npz", **{f"{name}.running_mean": ones, f"{name}.running_var": -ones})
    with pytest.raises(FileError, match=r"m\.npz, layer \\x1b\]0;owned\\x07b\\nError: n, runn"):
        files.read(tmp_path / "m.npz")

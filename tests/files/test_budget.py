"""A file becomes four times its size in memory and 16 MiB, or what the caller allows."""

from __future__ import annotations

import bz2
import io
import lzma
import os
import struct
import tracemalloc
import zipfile
from typing import TYPE_CHECKING

import numpy as np
import pytest

from backnorm.convert import files
from backnorm.errors import FileError
from files import models

if TYPE_CHECKING:
    from pathlib import Path

MIB = 1 << 20

PLACES = {"model": "m.npz", "network": "m.prototxt", "external data": "w.bin"}


def bomb(path: Path, method: int, content: bytes) -> None:
    """Write an archive whose member claims one byte, and unpacks to more."""
    name = b"a.npy"
    fields = (20, 0, method, 0, 0, 0, len(content), 1, len(name), 0)
    head = struct.pack("<4sHHHHHIIIHH", b"PK\3\4", *fields) + name
    start = len(head) + len(content)
    entry = struct.pack("<4sHHHHHHIIIHHHHHII", b"PK\1\2", 20, *fields, 0, 0, 0, 0, 0) + name
    end = struct.pack("<4sHHHHIIH", b"PK\5\6", 0, 0, 1, 1, len(entry), start, 0)
    path.write_bytes(head + content + entry + end)


@pytest.mark.parametrize(
    ("method", "content"),
    [(zipfile.ZIP_BZIP2, bz2.compress(bytes(MIB))), (zipfile.ZIP_LZMA, lzma.compress(bytes(MIB)))],
)
def test_what_zipfile_unpacks_without_a_limit_is_refused(
    method: int, content: bytes, tmp_path: Path
) -> None:
    """Of bzip2 and LZMA it unpacks all that is there, whatever the archive claims."""
    bomb(tmp_path / "m.npz", method, content)
    with pytest.raises(FileError, match=rf"a\.npy must be stored or .* method {method}\."):
        files.read(tmp_path / "m.npz")


def test_members_share_one_budget(tmp_path: Path) -> None:
    """Each of them alone would fit; and an argument allows them all."""
    zeros = {f"a{index}": np.zeros(MIB, np.float32) for index in range(8)}
    np.savez_compressed(tmp_path / "m.npz", **zeros)
    with pytest.raises(FileError, match=r"member a[34]\.npy needs 4194\d+ bytes of memory, and"):
        files.read(tmp_path / "m.npz")
    assert len(files.read(tmp_path / "m.npz", memory=40 * MIB).others) == 8
    with pytest.raises(FileError, match=r"^m\.npz, member a0\.npy needs"):
        files.read(tmp_path / "m.npz", memory=MIB)


def test_tensors_of_one_storage_share_its_memory(tmp_path: Path) -> None:
    """Three hundred views of 2 MiB are 2 MiB."""
    torch = pytest.importorskip("torch", reason="torch is not installed; make test has it")
    storage = torch.arange(1024 * 512.0).reshape(1024, 512)
    torch.save({f"l{index}.w": storage.t() for index in range(300)}, tmp_path / "m.pt")
    tracemalloc.start()
    others = files.read(tmp_path / "m.pt").others
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 16 * MIB
    assert np.shares_memory(others["l0.w"], others["l299.w"])
    np.testing.assert_array_equal(others["l7.w"], storage.t().numpy(), strict=True)


def test_a_checkpoint_that_holds_itself_often_is_refused(tmp_path: Path) -> None:
    """Forty lists, each of which holds the one before it twice, have 2^40 entries."""
    torch = pytest.importorskip("torch", reason="torch is not installed; make test has it")
    tree: list[object] = []
    for _ in range(40):
        tree = [tree, tree]
    torch.save({"a": tree}, tmp_path / "m.pt")
    with pytest.raises(FileError, match=r"^m\.pt, the tensors needs 64 bytes of memory, and"):
        files.read(tmp_path / "m.pt")


def test_empty_maps_of_a_msgpack_file_count(tmp_path: Path) -> None:
    """A byte each in the file, and some hundred in memory."""
    models.need("msgpack")
    data = b"\xdd" + struct.pack(">I", MIB) + b"\x80" * MIB
    (tmp_path / "m.msgpack").write_bytes(data)
    with pytest.raises(FileError, match=r"^m\.msgpack, the message needs \d+ bytes of memory"):
        files.read(tmp_path / "m.msgpack")


def test_empty_fields_of_a_caffemodel_count(tmp_path: Path) -> None:
    """Three bytes are a layer."""
    (tmp_path / "m.caffemodel").write_bytes(b"\xa2\x06\x00" * MIB)
    with pytest.raises(FileError, match=r"^m\.caffemodel, the network needs \d+ bytes of memory"):
        files.read(tmp_path / "m.caffemodel")


def onnx_of_one_file(folder: Path, count: int, size: int) -> Path:
    """A model whose tensors all have the same place in a file beside."""
    onnx = pytest.importorskip("onnx", reason="onnx is not installed; make test has it")
    model = onnx.load(models.SAMPLES / "onnx.onnx")
    for index in range(count):
        tensor = onnx.TensorProto(name=f"t{index}", data_type=1, dims=[size])
        tensor.data_location = onnx.TensorProto.EXTERNAL
        for key, value in {"location": "w.bin", "length": str(4 * size)}.items():
            tensor.external_data.add(key=key, value=value)
        model.graph.initializer.append(tensor)
    (folder / "w.bin").write_bytes(bytes(4 * size))
    (folder / "m.onnx").write_bytes(model.SerializeToString())
    return folder / "m.onnx"


def test_external_data_that_tensors_share_counts_once(tmp_path: Path) -> None:
    """And what is in the file beside belongs to the model: the budget grows with it."""
    others = files.read(onnx_of_one_file(tmp_path, 50, 8 * MIB)).others
    assert np.shares_memory(others["t0"], others["t49"])


def test_hard_links_of_an_h5_file_share_an_array(tmp_path: Path) -> None:
    """A name more is an array more, and no memory more."""
    h5py = pytest.importorskip("h5py", reason="h5py is not installed; make test has it")
    with h5py.File(tmp_path / "m.h5", "w") as file:
        file["a0"] = np.ones(MIB, np.float32)
        for index in range(1, 50):
            file[f"a{index}"] = file["a0"]
    others = files.read(tmp_path / "m.h5").others
    assert np.shares_memory(others["a0"], others["a49"])


@pytest.mark.parametrize(
    ("kind", "what"),
    [
        *((kind, what) for kind in ("pipe", "directory") for what in PLACES),
        ("device", "model"),  # by way of a link
        ("device", "network"),
    ],
)
def test_only_files_are_read(kind: str, what: str, tmp_path: Path) -> None:
    """A pipe would wait for ever for its writer, and some devices have no end."""
    place = tmp_path / PLACES[what]
    path = onnx_of_one_file(tmp_path, 1, 1) if what == "external data" else place
    place.unlink(missing_ok=True)
    if kind == "pipe":
        os.mkfifo(place)
    elif kind == "directory":
        place.mkdir()
    else:
        place.symlink_to(os.devnull)
    net = place if what == "network" else None
    if net:
        path = models.FILES["c046m.caffemodel"].path
    with pytest.raises(FileError, match=rf"^{place.name} is a {kind}, not a regular file\."):
        files.read(path, net=net)


def test_an_archive_in_memory_is_read_once_more_when_written(tmp_path: Path) -> None:
    """The writer does not refuse what the reader has let pass."""
    zeros = {"a": np.zeros(8 * MIB, np.float32)}
    ones = np.ones(3, np.float32)
    np.savez_compressed(
        tmp_path / "m.npz", **zeros, **{"b.running_mean": ones, "b.running_var": ones}
    )
    model = files.read(tmp_path / "m.npz", memory=64 * MIB)
    files.write(tmp_path / "n.npz", model)
    assert zipfile.is_zipfile(io.BytesIO((tmp_path / "n.npz").read_bytes()))

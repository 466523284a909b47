"""Files whose names tell no format: their content does, or the message says what they are."""

from __future__ import annotations

import gzip
import io
import tarfile
from typing import TYPE_CHECKING

import numpy as np
import pytest

from backnorm.convert import files
from backnorm.errors import FileError
from files import models

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("ending", ["", ".bin", ".ckpt", ".pth.tar", ".pt", ".x"])
@pytest.mark.parametrize(
    "name",
    [
        *("torch.pt", "torch_legacy.pt", "torch.torchscript", "torch.safetensors"),
        *("keras.keras", "keras.h5", "flax.npz", "tensorflow.tflite", "gluon.params"),
    ],
)
def test_a_format_is_told_by_content(name: str, ending: str, tmp_path: Path) -> None:
    """Read and inspected, the file is what it is under its own name."""
    sample = models.FILES[name]
    models.need(sample.format)
    path = tmp_path / f"m{ending}"
    path.write_bytes(sample.path.read_bytes())
    want = files.read(sample.path)
    for got in (files.read(path), files.open_lazily(path)):
        assert got.format == sample.format
        assert [layer.name for layer in got.layers] == [layer.name for layer in want.layers]


@pytest.mark.parametrize("name", ["m.h5", "m.onnx", "m.caffemodel"])
def test_an_ending_that_tells_the_format_counts(name: str, tmp_path: Path) -> None:
    """The content is not searched for another format then."""
    models.need({"m.h5": "h5", "m.onnx": "onnx"}.get(name, "npz"))
    (tmp_path / name).write_bytes((models.SAMPLES / "torch.pt").read_bytes())
    with pytest.raises(FileError, match=rf"^{name}") as refused:
        files.read(tmp_path / name)
    assert "cannot be told" not in str(refused.value)


@pytest.mark.parametrize(
    ("sample", "name", "got"),
    [
        ("keras.keras", "m.h5", "keras"),
        ("keras.h5", "m.keras", "h5"),
        ("torch.pt", "m.onnx", "torch"),
    ],
)
def test_what_a_file_of_another_format_looks_like_is_said(
    sample: str, name: str, got: str, tmp_path: Path
) -> None:
    """With the option that reads it."""
    models.need({"torch": "onnx"}.get(got, "h5"))
    (tmp_path / name).write_bytes((models.SAMPLES / sample).read_bytes())
    with pytest.raises(FileError, match=f"It looks like a file of the format {got}") as refused:
        files.read(tmp_path / name)
    assert f"pass --from-format {got}" in refused.value.in_command()
    assert files.read(tmp_path / name, format=got).format == got


def test_a_net_that_a_format_does_not_need_is_said(tmp_path: Path) -> None:
    """It is not opened, and need not be there."""
    np.savez(tmp_path / "m.npz", a=np.ones(3))
    assert not files.read(tmp_path / "m.npz").notes
    (note,) = files.read(tmp_path / "m.npz", net=tmp_path / "n.prototxt").notes
    assert (
        note
        == "n.prototxt is not read: a file of the format npz needs no other file for its network"
    )


def test_bytes_that_are_no_onnx_model_are_refused(tmp_path: Path) -> None:
    """Protocol buffers take any fields that they do not know."""
    models.need("onnx")
    (tmp_path / "m.onnx").write_bytes(b"xx" * 40)
    with pytest.raises(FileError, match=r"m\.onnx, the model must have a graph, got none"):
        files.read(tmp_path / "m.onnx")


def test_an_archive_without_arrays_is_an_npz_if_it_is_called_so(tmp_path: Path) -> None:
    """With no layer, as convert and inspect say then."""
    (tmp_path / "m.npz").write_bytes((models.SAMPLES / "torch.pt").read_bytes())
    assert files.read(tmp_path / "m.npz").layers == ()


def tar() -> bytes:
    """An archive of one file."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("a"))
    return out.getvalue()


TABLE = bytes(600) + bytes.fromhex("57fb808b247547db")

OTHERS = {
    "tar": ("m.tar", tar(), "a tar archive"),
    "pointer": ("m.bin", b"version https://git-lfs.github.com/spec/v1\n", "a pointer of Git LFS"),
    "gzip": ("m", gzip.compress(b"a"), "compressed with gzip"),
    "zip": ("m.zip", b"PK\3\4" + bytes(40), "a zip archive without a model"),
    "page": ("m.bin", b"<!DOCTYPE html>", "a page of the web"),
    "gguf": ("m.bin", b"GGUF" + bytes(30), "a GGUF file"),
    "pickle": ("m.pkl", b"\x80\x04K\x01.", "a pickle that torch.save did not write"),
    "checkpoint": ("m.ckpt", TABLE, "a TensorFlow checkpoint"),
    "index": ("m.ckpt.index", TABLE, "a TensorFlow checkpoint"),
    "values": ("m.ckpt.data-00000-of-00001", bytes(40), "a TensorFlow checkpoint"),
}


@pytest.mark.parametrize("kind", OTHERS)
def test_another_file_is_refused_saying_what_it_is(kind: str, tmp_path: Path) -> None:
    """In one sentence."""
    name, data, words = OTHERS[kind]
    (tmp_path / name).write_bytes(data)
    with pytest.raises(FileError, match=rf"^The format of {name} .* It looks like {words}"):
        files.read(tmp_path / name)


def test_a_file_of_no_known_content_is_refused(tmp_path: Path) -> None:
    """Without a guess."""
    np.arange(9).tofile(tmp_path / "m.bin")
    with pytest.raises(FileError, match=r"^The format of m\.bin .* or its content\. Check"):
        files.read(tmp_path / "m.bin")


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"version https://git-lfs", r" It looks like a pointer of Git LFS: fetch the file itself"),
        (b"\0" * 9, r" Check that it is whole"),
    ],
)
def test_a_pt_file_of_other_content_says_what_it_is(
    data: bytes, words: str, tmp_path: Path
) -> None:
    """Its ending alone tells the format then."""
    (tmp_path / "m.pt").write_bytes(data)
    with pytest.raises(FileError, match=rf"^m\.pt is not a file of torch\.save\.{words}"):
        files.read(tmp_path / "m.pt")

"""TorchScript, and `.pt` files without torch: read as data, and nothing that they name is run."""

from __future__ import annotations

import io
import os
import pickle
import zipfile
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from backnorm.convert import files
from backnorm.convert.files._budget import Budget
from backnorm.convert.files._content import InMemory
from backnorm.convert.files.torch._pickled import unpickled
from backnorm.errors import FileError
from files import models

if TYPE_CHECKING:
    from pathlib import Path

torch = pytest.importorskip("torch", reason="torch is not installed; make test has it")

SAMPLE = models.SAMPLES / "torch.torchscript"


def test_a_torchscript_file_with_the_usual_ending_is_recognized(tmp_path: Path) -> None:
    """It ends in .pt, as a file of tensors does; its layers are those of its network."""
    path = tmp_path / "m.pt"
    path.write_bytes(SAMPLE.read_bytes())
    model = files.read(path)
    assert model.format == "torchscript"
    assert [(layer.name, layer.dialect) for layer in model.layers] == [
        ("0", "torch"),
        ("2", "torch"),
    ]
    assert model.layers[0].untold == ("eps", "momentum")


def test_a_torchscript_file_is_not_written(tmp_path: Path) -> None:
    """It is refused before anything is read that could be lost."""
    model = files.read(SAMPLE)
    with pytest.raises(FileError, match=r"^m\.ptl cannot be written: files of the format torchsc"):
        files.write(tmp_path / "m.ptl", model)
    with pytest.raises(FileError, match=r"^m\.ptl cannot be written: files of the format torchsc"):
        files.convert_model(model, tmp_path / "m.ptl", "torch")
    converted, _ = files.convert_model(model, tmp_path / "m.npz", "torch")
    files.write(tmp_path / "m.npz", converted)
    assert "0.running_mean" in np.load(tmp_path / "m.npz")


class Runs:
    """An object whose pickle would make a directory."""

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        """Return what would be called."""
        return os.mkdir, ("made",)


def archive(folder: Path, content: object, **members: bytes) -> Path:
    """An archive as torch.save makes it, around any pickle."""
    with zipfile.ZipFile(folder / "m.pt", "w") as file:
        file.writestr("m/data.pkl", pickle.dumps(content, protocol=2))
        for name, data in members.items():
            file.writestr(f"m/{name}", data)
    return folder / "m.pt"


def test_what_a_pickle_names_is_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It becomes a record; torch would refuse the file."""
    monkeypatch.chdir(tmp_path)
    path = archive(tmp_path, {"a": Runs()}, version=b"3\n", byteorder=b"little")
    assert len(files.open_lazily(path).others) == 0
    assert sorted(item.name for item in tmp_path.iterdir()) == ["m.pt"]
    with pytest.raises(FileError, match="could run code"):
        files.read(path)


def test_a_network_that_was_saved_whole_is_looked_into(tmp_path: Path) -> None:
    """With the names of its state_dict."""
    net = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 1), torch.nn.BatchNorm2d(4))
    torch.save(net, tmp_path / "m.pt")
    model = files.open_lazily(tmp_path / "m.pt")
    assert [layer.name for layer in model.layers] == ["1"]
    assert sorted(model.others) == ["0.bias", "0.weight"]
    np.testing.assert_array_equal(model.others["0.weight"], net[0].weight.detach().numpy())


@pytest.mark.parametrize("dtype", ["float64", "float16", "bfloat16", "int64", "uint8", "bool"])
def test_views_of_a_storage_have_their_values(dtype: str, tmp_path: Path) -> None:
    """Transposed, with an offset and with steps, in every dtype."""
    models.need("safetensors")  # which bfloat16 needs ml_dtypes beside
    whole = torch.arange(24).reshape(4, 6).to(getattr(torch, dtype))
    state = {"a": whole.t(), "b": whole[1:, ::2], "c": whole[2, 3], "d": whole[:0]}
    torch.save(state, tmp_path / "m.pt")
    lazy, read = files.open_lazily(tmp_path / "m.pt").others, files.read(tmp_path / "m.pt").others
    assert set(lazy) == set(read) == set(state)
    for name in state:
        np.testing.assert_array_equal(lazy[name], read[name], strict=True)


def saved(state: dict[str, torch.Tensor], change: dict[bytes, bytes]) -> bytes:
    """A file of torch.save with parts of its pickle replaced."""
    stream, new = io.BytesIO(), io.BytesIO()
    torch.save(state, stream)
    with zipfile.ZipFile(stream) as old, zipfile.ZipFile(new, "w") as file:
        for name in old.namelist():
            content = old.read(name)
            for before, after in change.items():
                content = content.replace(before, after) if name.endswith("data.pkl") else content
            file.writestr(name, content)
    return new.getvalue()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({b"FloatStorage": b"QuietStorage"}, r"^m\.pt, a must have one of the dtypes"),
        (
            {b"X\x01\x00\x00\x000": b"X\x01\x00\x00\x009"},
            r"^m\.pt, a is not in the file, which has",
        ),
        ({b"K\x05": b"K\x7f"}, r"^m\.pt, a has a header that claims 508 bytes, but"),
        ({b"storage": b"Storage"}, r"^m\.pt, a must be a tensor of a storage, got"),
    ],
)
def test_a_damaged_tensor_is_refused(
    change: dict[bytes, bytes], message: str, tmp_path: Path
) -> None:
    """Naming it."""
    (tmp_path / "m.pt").write_bytes(saved({"a": torch.zeros(5)}, change))
    with pytest.raises(FileError, match=message):
        files.open_lazily(tmp_path / "m.pt")


def test_an_archive_without_a_pickle_is_refused(tmp_path: Path) -> None:
    """As any other archive."""
    with zipfile.ZipFile(tmp_path / "m.pt", "w") as file:
        file.writestr("a", b"b")
    with pytest.raises(FileError, match=r"^m\.pt, members must have one data\.pkl, got 0\."):
        files.open_lazily(tmp_path / "m.pt")


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_data_is_read_as_pickle_reads_it(protocol: int) -> None:
    """In every protocol."""
    shared = [1, 2]
    data = {
        "numbers": [0, -1, 300, 1 << 40, 1 << 200, 1.5],
        "others": (None, True, False, "text", b"bytes", (), (1,), (1, 2), (1, 2, 3, 4)),
        "shared": [shared, shared, {}, []],
    }
    if protocol < 3:  # bytes are a call to an encoder there
        data["others"] = data["others"][:4]
    got = unpickled(Budget("a", 1 << 20), "a", InMemory(pickle.dumps(data, protocol))).tree
    assert got == data
    assert got["shared"][0] is got["shared"][1]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            b"\x80\x02(i__main__\nA\n.",
            r"must hold data as PyTorch writes it, got the instruction INST",
        ),
        (b"\x80\x02.", r"cannot be read by pickletools: IndexError"),
        (b"\x80\x02]K\x01b.", r"cannot be read by pickletools: TypeError"),
        (b"\x80\x02h\x05.", r"cannot be read by pickletools: KeyError"),
        # A tuple that holds another twice, and that one another: its hash would take for ever.
        (
            b"\x80\x02})" + b"2\x86" * 60 + b"K\x01s.",
            r"cannot be read by pickletools: TypeError",
        ),
        (b"\x80\x02]", r"cannot be read by pickletools: ValueError"),
    ],
)
def test_a_damaged_pickle_is_refused(content: bytes, message: str) -> None:
    """Whatever its instructions are."""
    with pytest.raises(FileError, match=message):
        unpickled(Budget("a", 1 << 20), "data.pkl", InMemory(content))

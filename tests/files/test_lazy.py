"""Files that are opened and not read: a large file takes little memory and little time."""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from backnorm.convert import files
from backnorm.convert.files._content import OnDisk
from backnorm.convert.files._regular import open_regular
from backnorm.errors import FileError
from files import models

LARGE = 1 << 29
"""Bytes of the array beside the layer; the file may have a hole there, and take no room."""

MEMORY = 100 << 20

INSPECT = """
import sys
from pathlib import Path
from backnorm.convert import files
result = files.inspect_model(files.open_lazily(sys.argv[1]))
status = Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0]
print(len(result.layers), result.others, status)
"""
"""The peak is the kernel's number: that of getrusage begins with the peak of the process before."""


def layer() -> dict[str, np.ndarray]:
    """A layer of PyTorch."""
    values = np.arange(1.0, 5.0, dtype=np.float32)
    return {f"bn.{name}": values for name in ("weight", "bias", "running_mean", "running_var")}


def large_safetensors(folder: Path) -> Path:
    """An array of half a gigabyte that is nowhere on the disk, and a layer behind it."""
    header = {"w": {"dtype": "U8", "shape": [LARGE], "data_offsets": [0, LARGE]}}
    at = LARGE
    for name, array in layer().items():
        end = at + array.nbytes
        header[name] = {"dtype": "F32", "shape": list(array.shape), "data_offsets": [at, end]}
        at = end
    text = json.dumps(header).encode()
    with (folder / "m.safetensors").open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        file.seek(LARGE, os.SEEK_CUR)
        file.write(b"".join(array.tobytes() for array in layer().values()))
    return folder / "m.safetensors"


def large_npz(folder: Path) -> Path:
    """The same in an archive that is not compressed."""
    np.savez(folder / "m.npz", w=np.zeros(LARGE // 4, np.uint8), **layer())
    return folder / "m.npz"


def large_pt(folder: Path) -> Path:
    """The same by torch.save."""
    torch = pytest.importorskip("torch", reason="torch is not installed; make test has it")
    state = {name: torch.from_numpy(array) for name, array in layer().items()}
    torch.save({"w": torch.zeros(LARGE // 4, dtype=torch.uint8), **state}, folder / "m.pt")
    return folder / "m.pt"


def large_legacy_pt(folder: Path) -> Path:
    """The same as PyTorch wrote it before version 1.6."""
    torch = pytest.importorskip("torch", reason="torch is not installed; make test has it")
    state = {name: torch.from_numpy(array) for name, array in layer().items()}
    whole = {"w": torch.zeros(LARGE // 4, dtype=torch.uint8), **state}
    torch.save(whole, folder / "m.pt", _use_new_zipfile_serialization=False)
    return folder / "m.pt"


def large_h5(folder: Path) -> Path:
    """The same in HDF5, in the style of Keras 2."""
    h5py = pytest.importorskip("h5py", reason="h5py is not installed; make test has it")
    names = ("gamma", "beta", "moving_mean", "moving_variance")
    with h5py.File(folder / "m.h5", "w") as file:
        file.attrs["layer_names"] = [b"bn"]
        file["w"] = np.zeros(LARGE // 4, np.uint8)
        for name, array in zip(names, layer().values(), strict=True):
            file[f"bn/{name}"] = array
    return folder / "m.h5"


@pytest.mark.skipif(
    not Path("/proc/self/status").is_file(), reason="/proc is missing; Linux has it"
)
@pytest.mark.parametrize(
    "make", [large_safetensors, large_npz, large_pt, large_legacy_pt, large_h5]
)
def test_a_large_file_takes_little_memory(make: object, tmp_path: Path) -> None:
    """The peak of the whole process, with Python and NumPy."""
    assert callable(make)
    models.need("safetensors")
    path = make(tmp_path)
    done = subprocess.run(
        [sys.executable, "-c", INSPECT, str(path)], capture_output=True, text=True, check=True
    )
    layers, others, peak = map(int, done.stdout.split())
    assert (layers, others) == (1, 1)
    assert peak * 1024 < MEMORY


def test_a_file_that_becomes_shorter_is_an_error_of_ours(tmp_path: Path) -> None:
    """A file that is mapped into memory would end the process."""
    models.need("safetensors")
    path = large_safetensors(tmp_path)
    model = files.open_lazily(path)
    os.truncate(path, 4096)
    with pytest.raises(FileError, match=rf"^m\.safetensors must have {LARGE} more bytes, got"):
        model.others["w"]


def test_an_open_file_stays_the_same_file(tmp_path: Path) -> None:
    """Another file may get its name meanwhile."""
    models.need("safetensors")
    path = tmp_path / "m.safetensors"
    path.write_bytes(models.FILES["torch.safetensors"].path.read_bytes())
    model = files.open_lazily(path)
    (tmp_path / "new").write_bytes(b"other")
    (tmp_path / "new").replace(path)
    assert model.others["dense.weight"].shape == (2, 5)


def test_a_file_that_cannot_be_read_on_is_an_error_of_ours(tmp_path: Path) -> None:
    """Such as a file whose disk has gone."""
    (tmp_path / "a").write_bytes(b"1234")
    content = OnDisk.of("a", open_regular(tmp_path / "a"))
    assert bytes(content.part(1, 3)) == b"23"
    with (tmp_path / "a").open("ab") as file:  # not for reading
        os.dup2(file.fileno(), content.number)
    with pytest.raises(FileError, match=r"^a cannot be read: "):
        content.part(0, 2)

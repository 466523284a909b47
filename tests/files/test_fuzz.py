"""Damaged files: a reader gives an error of ours and nothing else, at once and in little memory."""

from __future__ import annotations

import io
import sys
import tracemalloc
import zipfile
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backnorm.convert import files
from backnorm.convert.files import _hdf5
from backnorm.convert.files.registry import FORMATS
from backnorm.errors import BacknormError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
from files import models

MOST_CALLS = 1_000_000
"""Of functions, for one file of some kilobytes: most need 11,000, and 90,000 were the most."""

BYTES = 32 << 20
"""Of memory at most: 17 MiB unpacked are always allowed, and the files are 30 kB."""

HDF5_SECONDS = 3.0
"""On some damaged bytes the HDF5 library loops until its process is ended: as good an error of ours
as any, and 3 s are soon over."""

NUMBERS = (0, 1, 0x7F, 0x80, 0xFF, (1 << 31) - 1, (1 << 60), (1 << 63) - 1, (1 << 64) - 1)
"""Lengths that a header may claim."""

Edit = tuple[str, float, int]

EDITS = st.tuples(
    st.sampled_from(["flip", "byte", "number", "cut", "double", "drop"]),
    st.floats(0, 1, exclude_max=True),
    st.integers(0, 255),
)


def damaged(data: bytes, edits: list[Edit]) -> bytes:
    """Return the bytes after some edits, each at a place in parts of the length."""
    for kind, where, value in edits:
        at = int(where * len(data))
        data = data[:at] + edited(kind, data[at:], value)
    return data


def edited(kind: str, rest: bytes, value: int) -> bytes:
    """Return what follows a place after one edit there."""
    match kind:
        case "flip":
            return bytes(byte ^ (1 << value % 8) for byte in rest[:1]) + rest[1:]
        case "byte":
            return bytes([value]) + rest[1:]
        case "number":
            return NUMBERS[value % len(NUMBERS)].to_bytes(8, "little") + rest[8:]
        case "double":
            return rest[: value % 64] + rest
        case "drop":
            return rest[value % 64 :]
    return b""


def inside(data: bytes, edits: list[Edit]) -> bytes:
    """Damage what is in an archive, where its checksums would hide everything else."""
    new = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(new, "w") as archive:
        members = old.namelist()
        victim = members[edits[0][2] % len(members)]
        for member in members:
            content = old.read(member)
            archive.writestr(member, damaged(content, edits) if member == victim else content)
    return new.getvalue()


@contextmanager
def few_calls() -> Iterator[None]:
    """Fail a test once it has called more functions than such a file is worth."""
    calls = 0

    def count(_: object, event: str, __: object) -> None:
        nonlocal calls
        calls += event in {"call", "c_call"}
        if calls > MOST_CALLS:
            # No subclass of Exception: what reads files does not take it for damage.
            pytest.fail(f"more than {MOST_CALLS} calls")

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        yield
    finally:
        sys.setprofile(before)


def read_damaged(path: Path, data: bytes) -> None:
    """Read, and convert if it could be read: an error of ours is as good as a result."""
    path.write_bytes(data)
    words = ""
    tracemalloc.start()
    try:
        with few_calls():
            model = files.read(path)
            files.write(path.with_name("again"), model)
            files.convert_model(model, path.with_name("t.npz"), "torch", allow_loss=True)
    except BacknormError as error:
        words = str(error)
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert not words or path.name in words or "again" in words
    assert peak < BYTES


ARCHIVES = [name for name, file in models.FILES.items() if zipfile.is_zipfile(file.path)]
NETS = [name for name, file in models.FILES.items() if file.net]


def sample(name: str) -> tuple[Path, int]:
    """A sample, and how often to damage it: HDF5 starts a process for each reading."""
    models.need(models.FILES[name].format)
    process = FORMATS[models.FILES[name].format].library == "h5py"
    return models.FILES[name].path, 30 if process else 150


@pytest.mark.parametrize("name", models.FILES)
def test_damaged_bytes_give_an_error_of_ours(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Flipped, overwritten, cut, doubled and dropped bytes, one to four of them."""
    monkeypatch.setattr(_hdf5, "SECONDS", HDF5_SECONDS)
    path, examples = sample(name)
    data = path.read_bytes()

    @settings(max_examples=examples)
    @given(st.lists(EDITS, min_size=1, max_size=4))
    def check(edits: list[Edit]) -> None:
        read_damaged(tmp_path / f"damaged{path.suffix}", damaged(data, edits))

    check()


@pytest.mark.parametrize("name", ARCHIVES)
def test_damaged_members_give_an_error_of_ours(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same inside an archive whose checksums are right."""
    monkeypatch.setattr(_hdf5, "SECONDS", HDF5_SECONDS)
    path, examples = sample(name)
    data = path.read_bytes()

    @settings(max_examples=examples)
    @given(st.lists(EDITS, min_size=1, max_size=4))
    def check(edits: list[Edit]) -> None:
        read_damaged(tmp_path / f"damaged{path.suffix}", inside(data, edits))

    check()


@pytest.mark.parametrize("name", NETS)
def test_damaged_descriptions_give_an_error_of_ours(name: str, tmp_path: Path) -> None:
    """What describes the network is as little to be trusted as the parameters."""
    parameters, net = models.FILES[name].path, models.FILES[name].net
    assert net
    data = net.read_bytes()

    @settings(max_examples=150)
    @given(st.lists(EDITS, min_size=1, max_size=4))
    def check(edits: list[Edit]) -> None:
        (tmp_path / net.name).write_bytes(damaged(data, edits))
        words = ""
        try:
            files.read(parameters, net=tmp_path / net.name)
        except BacknormError as error:
            words = str(error)
        assert not words or net.name in words or parameters.name in words

    check()

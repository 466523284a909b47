"""Damaged files: a reader gives an error of ours and nothing else, at once and in little memory.

The same targets and the same damage as `make fuzz`, which is guided by coverage and runs longer.
"""

from __future__ import annotations

import shutil
import sys
from contextlib import contextmanager
from random import Random
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backnorm.convert.files import npz
from backnorm.convert.files.keras import _hdf5
from backnorm.convert.files.registry import FORMATS
from files import models
from files.fuzzing.damage import KINDS, damaged, damaged_inside, random_edit
from files.fuzzing.entry import entry_of
from files.fuzzing.target import check

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from files.fuzzing.damage import Edit
    from files.fuzzing.entry import Entry

MOST_CALLS = 1_000_000
"""Of functions, for one file of some kilobytes, which is read three times: most need 30,000."""

HDF5_SECONDS = 3.0
"""On some damaged bytes the HDF5 library loops until its process is ended: as good an error of ours
as any, and 3 s are soon over."""

EDITS = st.tuples(st.sampled_from(KINDS), st.floats(0, 1, exclude_max=True), st.integers(0, 255))


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


def withstand(name: str, entry: Entry, folder: Path) -> None:
    """Read, and write what could be read: an error of ours, which names a file, or none."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    with few_calls():
        words = check(models.FILES[name].format, entry, folder)
    named = (*entry, "t.npz", "t.caffemodel")
    assert not words or any(file in words for file in named)


CASES = [(name, file) for name in models.SAMPLED for file in entry_of(models.FILES[name])]
"""Each sample, and each of its files: what describes the network is as little to be trusted as the
parameters."""


def examples(name: str) -> int:
    """How often to damage a sample: HDF5 starts a process for each reading."""
    models.need(models.FILES[name].format)
    return 8 if FORMATS[models.FILES[name].format].library == "h5py" else 150


@pytest.mark.sampled(4)
@pytest.mark.parametrize(("name", "file"), CASES)
def test_damaged_bytes_give_an_error_of_ours(
    name: str, file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Flipped, overwritten, cut, doubled and dropped bytes, one to four of them."""
    monkeypatch.setattr(_hdf5, "SECONDS", HDF5_SECONDS)
    entry = entry_of(models.FILES[name])

    @settings(max_examples=examples(name))
    @given(st.lists(EDITS, min_size=1, max_size=4))
    def run(edits: list[Edit]) -> None:
        withstand(name, {**entry, file: damaged(entry[file], edits)}, tmp_path / "damaged")

    run()


@pytest.mark.sampled(4)
@pytest.mark.parametrize(("name", "file"), CASES)
def test_damaged_parts_give_an_error_of_ours(
    name: str, file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same inside members, fields and operations, whose lengths and checksums are right."""
    monkeypatch.setattr(_hdf5, "SECONDS", HDF5_SECONDS)
    entry = entry_of(models.FILES[name])

    @settings(max_examples=examples(name))
    @given(st.integers(0, 1 << 32))
    def run(seed: int) -> None:
        inside = damaged_inside(entry[file], Random(seed), random_edit)
        withstand(name, {**entry, file: inside}, tmp_path / "damaged")

    run()


def test_a_fault_of_ours_is_not_taken_for_damage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Users see an error about the file; a target sees what our code raised."""
    monkeypatch.setattr(npz, "npy", None)
    entry = {"m.npz": (models.SAMPLES / "flax.npz").read_bytes()}
    with pytest.raises(AttributeError, match=r"has no attribute 'read_magic'$"):
        check("npz", entry, tmp_path)

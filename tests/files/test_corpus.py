"""The corpus of the fuzz targets: every format has seeds, and every file in it is withstood."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backnorm.convert import files
from backnorm.convert.files.registry import FORMATS
from files import models
from files.fuzzing.damage import damaged_inside, random_edit
from files.fuzzing.entry import (
    CORPUS,
    damaged_entry,
    kept,
    loaded,
    main_file,
    packed,
    seeds,
    unpacked,
)
from files.fuzzing.structures import parts_of
from files.fuzzing.target import check

MOST = 512 << 10
"""Bytes of the corpus: it is in every checkout."""

ENTRIES = [(format_, path) for format_ in FORMATS for path in kept(format_)]
NAMES = [f"{format_}-{path.name}" for format_, path in ENTRIES]


@pytest.mark.parametrize("format_", models.READABLE)
def test_a_format_has_a_seed(format_: str) -> None:
    """Its fuzz target begins with a file that has a layer: bytes out of nowhere reach little."""
    models.need(format_)
    own = [path for path in kept(format_) if path.name.startswith("seed")]
    assert seeds(format_), f"{CORPUS.name}/{format_} has no seed; make_seeds.py makes those"
    for path in own:
        entry = loaded(path)
        file = main_file(entry, format_, path if path.is_dir() else path.parent)
        assert files.read(file, format=format_).layers


def test_the_corpus_has_no_other_formats() -> None:
    """A folder of a format that is gone would never be read."""
    assert {path.name for path in CORPUS.iterdir() if path.is_dir()} - {"__pycache__"} <= set(
        FORMATS
    )


def test_the_corpus_is_small() -> None:
    """Inputs that have shown a fault are made small before they are kept."""
    assert sum(path.stat().st_size for path in CORPUS.rglob("*") if path.is_file()) < MOST


@pytest.mark.parametrize(("format_", "path"), ENTRIES, ids=NAMES)
def test_what_is_kept_is_withstood(format_: str, path: Path, tmp_path: Path) -> None:
    """Read, written back and converted, or refused by an error of ours."""
    models.need(format_)
    check(format_, loaded(path), tmp_path)


@pytest.mark.parametrize("format_", ["npz", "onnx", "safetensors", "torch"])
def test_a_fold_is_tried(format_: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A target that only ever saw refusals would reach little of the fold."""
    models.need(format_)
    folded = []

    def counting(*arguments: object, **options: object) -> object:
        result = fold_model(*arguments, **options)
        folded.append(result[1])
        return result

    fold_model = files.fold_model
    monkeypatch.setattr(files, "fold_model", counting)
    (path,) = (path for path in kept(format_) if path.stem == "seed-fold")
    check(format_, loaded(path), tmp_path)
    assert [[bool(fold.into) for fold in folds] for folds in folded] == [[True]]


@pytest.mark.parametrize(("format_", "path"), ENTRIES, ids=NAMES)
def test_an_entry_is_one_string_of_bytes(format_: str, path: Path) -> None:
    """With its files and their names, of which one is read."""
    entry = loaded(path)
    assert unpacked(packed(entry)) == entry
    assert main_file(entry, format_, Path()).name in entry


@pytest.mark.parametrize(
    "data",
    [b"", b"\n", b"[1]\n", b'{"a": "b"}\n', b'{"../a": 1}\na', b'{"/a": 1}\na', b"{}\n", b"\xff\n"],
)
def test_other_bytes_are_no_entry(data: bytes) -> None:
    """Such as those that the engine begins with; and no name leads out of the folder."""
    assert unpacked(data) is None


@pytest.mark.parametrize(("format_", "path"), ENTRIES, ids=NAMES)
def test_damage_is_repeatable(format_: str, path: Path) -> None:
    """The same edits for the same seed, others for another, and the same files."""
    assert format_ in FORMATS
    entry = loaded(path)
    for content in entry.values():
        damaged = [damaged_inside(content, Random(seed), random_edit) for seed in (1, 1, 2, 3, 4)]
        assert damaged[0] == damaged[1]
        assert len(set(damaged)) > 1
    assert damaged_entry(entry, Random(1), random_edit, 2).keys() == entry.keys()


def recorded_parts(data: bytes, depth: int = 0) -> None:
    """What is taken apart and put together can be taken apart again, into the same parts."""
    for choice in range(3):
        whole = parts_of(data, choice)
        if whole is None or depth > 3:
            continue
        again = parts_of(whole.join(whole.parts), choice)
        assert again is not None
        assert [body for _, body in again.parts] == [body for _, body in whole.parts]
        for _, body in whole.parts[:40]:
            recorded_parts(body, depth + 1)


@pytest.mark.parametrize("name", models.FILES)
def test_parts_make_the_whole(name: str) -> None:
    """Lengths and checksums are right: nothing is lost but how it was written."""
    recorded_parts(models.FILES[name].path.read_bytes())


@settings(max_examples=300)
@given(st.binary(max_size=60), st.integers(0, 3), st.integers(0, 1 << 32))
def test_any_bytes_are_taken_apart_or_not(data: bytes, choice: int, seed: int) -> None:
    """Damage to what is damaged already is no error."""
    parts_of(data, choice)
    damaged_inside(data, Random(seed), random_edit)


def test_the_targets_say_what_they_need() -> None:
    """They are run in an environment of their own, which has the engine."""
    tool = Path(__file__).parents[2] / "tools" / "fuzz.py"
    without = (
        "import runpy, sys; sys.modules['atheris'] = None; sys.argv = sys.argv[1:]; "
        "runpy.run_path(sys.argv[0], run_name='__main__')"
    )
    command = [sys.executable, "-c", without, str(tool)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("The fuzz targets need atheris, which has wheels for Linux")

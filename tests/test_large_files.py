"""The costs of large files: the file is what the script says, and each format is converted."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pytest

import large_files

if TYPE_CHECKING:
    from pathlib import Path


def test_the_sparse_file_has_its_size_and_its_layers(tmp_path: Path) -> None:
    """The values of the layers are those of a dense file, and the kernels are zeros."""
    path = tmp_path / "large.safetensors"
    reader = pytest.importorskip("safetensors.numpy", reason="backnorm[files] is not installed")
    large_files.write_sparse(path, 3, 10**7)
    expected = large_files.arrays(3, 0)
    found = reader.load_file(path)
    assert math.isclose(path.stat().st_size, 10**7, rel_tol=0.1)
    assert found.keys() == expected.keys()
    for name, value in found.items():
        assert np.array_equal(value, np.zeros_like(value) if "conv" in name else expected[name])


def test_what_a_command_takes_is_read(tmp_path: Path) -> None:
    """A process has a time and a memory; a failure ends the script with what the command said."""
    took = large_files.cost("--version")
    assert took.seconds > 0
    assert took.bytes > 2**20
    with pytest.raises(SystemExit, match=r"inspect .*absent\.npz ended with 2:\n.*absent\.npz"):
        large_files.cost("inspect", str(tmp_path / "absent.npz"))


def test_a_model_goes_round_and_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each format is read and written twice, and the arrays are the first ones at the end."""
    few = {name: large_files.DIALECTS[name] for name in ("npz", "caffemodel", "params")}
    monkeypatch.setattr(large_files, "DIALECTS", few)
    found = large_files.conversions(tmp_path, layers=2, size=10**5)
    there = [("npz", "caffemodel"), ("caffemodel", "params"), ("params", "npz")]
    assert list(found) == there + [(to, one) for one, to in reversed(there)]
    assert large_files.summary(found).startswith("conversions without a new .pt: ")
    expected = large_files.arrays(2, 10**5)
    with np.load(tmp_path / "model.npz") as arrays:
        assert all(
            np.array_equal(arrays[name], expected[name]) for name in arrays if "conv" in name
        )
        assert {name for name in expected if "conv" in name} <= set(arrays)

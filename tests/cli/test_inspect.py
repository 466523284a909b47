"""backnorm inspect: what it prints, and how it ends."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import numpy as np
import pytest
from click.testing import CliRunner

from backnorm.cli import main
from backnorm.report.to_inspection import inspection_schema

GOLDENS = Path(__file__).parents[1] / "dialects" / "goldens"
CAFFE = str(GOLDENS / "caffe" / "c046m.caffemodel")
GLUON = str(GOLDENS / "mxnet_params" / "gluon.params")
SAMPLES = Path(__file__).parents[1] / "files" / "samples"


def inspect(*arguments: str) -> tuple[int, str, str]:
    """Run the command, and return its exit status, what it printed, and what it said."""
    result = CliRunner().invoke(main, ["inspect", *arguments])
    return result.exit_code, result.stdout, result.stderr


def model(folder: Path, name: str = "m.npz", var: float = 2.0) -> str:
    """A file of PyTorch's layers, one for each digit, with a variance in the first channel."""
    arrays = {}
    for layer in range(5):
        values = np.arange(2.0, 5.0, dtype=np.float32)
        for field in ("weight", "bias", "running_mean"):
            arrays[f"bn{layer}.{field}"] = values
        arrays[f"bn{layer}.running_var"] = np.array([var, 1.0, 3.0], np.float32)
    np.savez(folder / name, **arrays)
    return str(folder / name)


def test_a_table_is_printed_with_the_findings(tmp_path: Path) -> None:
    """A line for each layer, and each finding once with some of the layers that have it."""
    status, printed, said = inspect(model(tmp_path, var=-1.0))
    assert (status, said) == (1, "")
    lines = printed.splitlines()
    assert lines[0] == "m.npz (npz): 5 normalization layers, 0 other arrays"
    row = next(line for line in lines if line.startswith("bn0"))
    assert row.split()[:5] == ["bn0", "torch", "3", "1e-05?", "0.1?"]
    assert row.rstrip().endswith("-1 to 3    F02 F08 F09")
    assert printed.count("F02 The running variance is negative.") == 1
    assert "  got       bn0, bn1, bn2 and 2 more: a variance of -1 in channel 0 of 3" in lines


def test_notes_change_the_exit_status_on_request_only(tmp_path: Path) -> None:
    """A file of arrays never tells eps: that alone is not a fault."""
    assert inspect(model(tmp_path))[0] == 0
    assert inspect(model(tmp_path), "--strict")[0] == 1
    assert inspect(CAFFE, "--strict")[0] == 0


def test_several_files_are_inspected_though_one_fails(tmp_path: Path) -> None:
    """With status 2, and the others' tables."""
    (tmp_path / "bad.npz").write_bytes(b"bad")
    status, printed, said = inspect(str(tmp_path / "bad.npz"), model(tmp_path))
    assert status == 2
    assert said.startswith("Error: bad.npz cannot be read by zipfile")
    assert printed.startswith("m.npz (npz)")


@pytest.mark.parametrize("place", ["-", "out.json"])
def test_json_follows_its_schema(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On stdout in place of the table, or in a file; NaN is null."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bad.npz").write_bytes(b"bad")
    files = [model(tmp_path, var=float("nan")), CAFFE, str(tmp_path / "bad.npz")]
    status, printed, _ = inspect(*files, "--json", place)
    assert status == 2
    document = json.loads(printed if place == "-" else (tmp_path / place).read_text())
    jsonschema.validate(document, inspection_schema())
    assert [entry["file"] for entry in document["files"]] == ["m.npz", "c046m.caffemodel"]
    assert document["files"][0]["layers"][0]["variance"] == [None, None]
    assert document["files"][0]["findings"][0]["code"] == "F01"
    assert document["failures"][0]["file"] == "bad.npz"


def test_options_reach_the_reader(tmp_path: Path) -> None:
    """--from, --from-format, --net and --memory, as for convert."""
    (tmp_path / "a").write_bytes(Path(GLUON).read_bytes())
    status, printed, said = inspect(
        str(tmp_path / "a"), "--from-format", "mxnet", "--from", "mxnet-cudnn"
    )
    assert status == 0
    assert "mxnet-cudnn" in printed
    assert said.startswith("note: ")
    assert inspect(str(tmp_path / "a"), "--from-format", "npz")[0] == 2
    status, _, said = inspect(model(tmp_path), "--memory", "0")
    assert status == 2
    assert "--memory" in said
    assert inspect(CAFFE, "--net", str(tmp_path / "none.prototxt"))[0] == 2


def test_a_file_without_a_layer_is_a_finding(tmp_path: Path) -> None:
    """With what it has."""
    np.savez(tmp_path / "m.npz", w=np.zeros((2, 3)))
    status, printed, _ = inspect(str(tmp_path / "m.npz"))
    assert status == 1
    assert "m.npz (npz): 0 normalization layers, 1 other array" in printed
    assert "got       1 arrays: 1 matrices" in printed


def test_a_result_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    """Of status 2."""
    status, _, said = inspect(model(tmp_path), "--json", str(tmp_path / "no" / "out.json"))
    assert status == 2
    assert "out.json cannot be written: " in said


def test_what_the_file_does_not_tell_can_be_set() -> None:
    """A layer of three arrays is refused without it, as by convert."""
    pytest.importorskip("h5py", reason="h5py is not installed; make test has it")
    path = str(SAMPLES / "compiled.weights.h5")
    assert inspect(path)[0] == 2
    status, printed, _ = inspect(path, "--set", "*.scale=false", "--set", "*.epsilon=0.002")
    assert status == 0
    assert "0.002 " in printed

"""backnorm moments: arrays in files, in parts, and the sums of earlier calls."""

from __future__ import annotations

import importlib
import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from click.testing import CliRunner

import backnorm as bn
from backnorm.cli import main
from backnorm.moments.sources import piece

if TYPE_CHECKING:
    from pathlib import Path

    from click.testing import Result

    from backnorm._types import AnyArray

VALUES = np.random.default_rng(0).normal(1e4, 1, size=(60, 3, 5)).astype(np.float32)


def run(*arguments: object) -> Result:
    """Run backnorm moments."""
    return CliRunner().invoke(main, ["moments", *map(str, arguments)])


def arrays(*arguments: object) -> list[dict[str, Any]]:
    """What its JSON holds."""
    result = run(*arguments, "--json", "-")
    assert result.exit_code == 0, result.output
    return list(json.loads(result.stdout)["arrays"])


def moments(x: AnyArray, axis: int = 1) -> bn.Moments:
    """The moments of an array."""
    made = bn.Moments()
    made.update(x, channel_axis=axis)
    return made


def saved(tmp_path: Path, **parts: AnyArray) -> list[Path]:
    """Files of arrays, by their names."""
    for name, values in parts.items():
        np.save(tmp_path / f"{name}.npy", values)
    return [tmp_path / f"{name}.npy" for name in parts]


def test_files_are_parts_of_one_array(tmp_path: Path) -> None:
    """All digits are those of the whole, whatever the parts."""
    whole = moments(VALUES)
    (got,) = arrays(*saved(tmp_path, a=VALUES[40:], b=VALUES[:7], c=VALUES[7:40]))
    assert (got["name"], got["n"], got["channels"]) == ("", 300, 3)
    assert (got["mean"], got["var"]) == (whole.mean.tolist(), whole.var.tolist())
    assert got["unbiased_var"] == whole.unbiased_var.tolist()


@pytest.mark.parametrize("axis", [0, 1, 2, -1])
def test_a_file_is_read_in_pieces(
    axis: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Along any axis of channels; Fortran's order too."""
    monkeypatch.setattr(piece, "BYTES", 100)
    for x in (VALUES, np.asfortranarray(VALUES)):
        (got,) = arrays(*saved(tmp_path, a=x), "--axis", axis)
        assert got["mean"] == moments(VALUES, axis).mean.tolist()


def test_arrays_of_one_name_belong_together(tmp_path: Path) -> None:
    """Each name has moments; --array chooses."""
    np.savez(tmp_path / "a.npz", u=VALUES[:9], v=VALUES[:, :2])
    np.savez(tmp_path / "b.npz", u=VALUES[9:])
    both = tmp_path / "a.npz", tmp_path / "b.npz"
    u, v = arrays(*both)
    assert u["mean"] == moments(VALUES).mean.tolist()
    assert (v["name"], v["channels"]) == ("v", 2)
    assert arrays(*both, "--array", "u") == [u]


def test_columns_of_parquet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A column is a channel, lists are rows; what is null or no number is left out."""
    pa = pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    parquet = importlib.import_module("pyarrow.parquet")
    source = importlib.import_module("backnorm.moments.sources.parquet")
    monkeypatch.setattr(source, "BYTES", 1000)
    rows = VALUES[:, :, 0]
    flat = pa.array(rows.ravel())
    table = pa.table(
        {
            "one": pa.array([None, *rows[1:, 0].tolist()], pa.float32()),
            "lists": pa.FixedSizeListArray.from_arrays(flat, 3),
            "text": pa.array(["a"] * len(rows)),
        }
    )
    parquet.write_table(table.slice(0, 20), tmp_path / "a.parquet")
    parquet.write_table(table.slice(20), tmp_path / "b.parquet")
    one, lists = arrays(tmp_path / "b.parquet", tmp_path / "a.parquet")
    assert (one["name"], one["n"], one["channels"]) == ("one", 59, 1)
    assert one["mean"] == moments(rows[1:, :1]).mean.tolist()
    assert (lists["name"], lists["mean"], lists["var"]) == (
        "lists",
        moments(rows).mean.tolist(),
        moments(rows).var.tolist(),
    )


def test_a_damaged_parquet_file_is_refused(tmp_path: Path) -> None:
    """With what pyarrow says of it."""
    pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    (tmp_path / "a.parquet").write_bytes(b"PAR1 and no more")
    result = run(tmp_path / "a.parquet")
    assert result.exit_code == 2
    assert "a.parquet" in result.stderr


def test_arrays_in_zarr(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A group holds named arrays, in chunks that do not matter; a folder may be one array."""
    zarr = pytest.importorskip("zarr", reason="zarr is not installed")
    monkeypatch.setattr(piece, "BYTES", 500)
    group = zarr.open_group(str(tmp_path / "a.zarr"), mode="w")
    made = group.create_group("inner").create_array(
        "u", shape=VALUES.shape, chunks=(7, 2, 5), dtype="float32"
    )
    made[:] = VALUES
    (got,) = arrays(tmp_path / "a.zarr", "--axis", 2)
    assert (got["name"], got["mean"]) == ("inner/u", moments(VALUES, 2).mean.tolist())
    zarr.save_array(str(tmp_path / "b.zarr"), VALUES)
    (got,) = arrays(tmp_path / "b.zarr")
    assert (got["name"], got["mean"]) == ("", moments(VALUES).mean.tolist())


def test_a_folder_that_is_no_zarr_is_refused(tmp_path: Path) -> None:
    """With what zarr says of it."""
    pytest.importorskip("zarr", reason="zarr is not installed")
    (tmp_path / "a.zarr").mkdir()
    result = run(tmp_path / "a.zarr")
    assert result.exit_code == 2
    assert "a.zarr" in result.stderr


def test_safetensors_are_read_by_slices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With any axis of channels."""
    library = pytest.importorskip("safetensors.numpy", reason="safetensors is not installed")
    monkeypatch.setattr(piece, "BYTES", 100)
    library.save_file({"w": VALUES}, tmp_path / "a.safetensors")
    (got,) = arrays(tmp_path / "a.safetensors", "--axis", 2)
    assert got["mean"] == moments(VALUES, 2).mean.tolist()


def test_sums_of_other_machines_are_added(tmp_path: Path) -> None:
    """--out writes the exact sums, which are a FILE for the next call."""
    first, rest = saved(tmp_path, a=VALUES[:7], b=VALUES[7:])
    result = run(first, "--out", tmp_path / "first.moments")
    assert result.exit_code == 0
    (got,) = arrays(rest, tmp_path / "first.moments", "--out", tmp_path / "all.moments")
    assert got["mean"] == moments(VALUES).mean.tolist()
    assert (tmp_path / "all.moments").read_bytes() == moments(VALUES).to_bytes()


def test_the_table_has_all_digits(tmp_path: Path) -> None:
    """A line for each channel; also what is not finite."""
    x = VALUES.copy()
    x[0, 1, 0] = np.inf
    result = run(*saved(tmp_path, a=x))
    assert "300 values a channel" in result.stdout
    assert repr(float(moments(x).var[0])) in result.stdout
    assert arrays(tmp_path / "a.npy")[0]["mean"][1] == "inf"


def test_what_cannot_be_done_says_why_and_writes_nothing(tmp_path: Path) -> None:
    """Status 2, one line, no file."""
    (good,) = saved(tmp_path, a=VALUES)
    np.savez(tmp_path / "two.npz", u=VALUES, v=VALUES)
    (tmp_path / "bad.npy").write_bytes(b"\x93NUMPY\x01\x00v\x00{'descr'")
    (tmp_path / "bad.moments").write_bytes(moments(VALUES).to_bytes()[:-1])
    (tmp_path / "text.csv").write_text("1,2\n")
    np.save(tmp_path / "objects.npy", np.array([{}, None]), allow_pickle=True)
    np.save(tmp_path / "other.npy", VALUES[:, :2])
    out = tmp_path / "out.moments"
    for wrong, words in (
        ([tmp_path / "none.npy"], "No such file"),
        ([tmp_path / "bad.npy"], "cannot be read by numpy"),
        ([tmp_path / "bad.moments"], "end too early"),
        ([tmp_path / "text.csv"], "must be named .npy"),
        ([tmp_path / "objects.npy"], "cannot be read by numpy"),
        ([tmp_path / "two.npz"], "got 2 arrays, u, v"),
        ([good, tmp_path / "other.npy"], "have 3 channels, got 2"),
        ([good, "--axis", 3], "channel_axis"),
        ([good, "--array", "w"], "no array of that name"),
    ):
        result = run(*wrong, "--out", out)
        assert (result.exit_code, result.stdout) == (2, ""), wrong
        assert result.stderr.count("\n") == 1
        assert words in result.stderr
        assert not out.exists()

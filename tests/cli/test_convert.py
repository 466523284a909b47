"""backnorm convert: what it prints, what it writes, and how it ends."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from backnorm.cli import main
from backnorm.convert import files

GOLDENS = Path(__file__).parents[1] / "dialects" / "goldens"
GLUON = str(GOLDENS / "mxnet_params" / "gluon.params")
CAFFE = str(GOLDENS / "caffe" / "c046m.caffemodel")


def convert(*arguments: str) -> tuple[int, str, str]:
    """Run the command, and return its exit status, what it printed, and what it said."""
    result = CliRunner().invoke(main, ["convert", *arguments])
    return result.exit_code, result.stdout, result.stderr


def test_a_table_is_printed_and_the_file_written(tmp_path: Path) -> None:
    """Layer, options that are not the defaults, what is not carried, and the difference."""
    out = tmp_path / "o.npz"
    status, printed, said = convert(CAFFE, str(out), "--to", "torch")
    assert status == 0
    line = next(line for line in printed.splitlines() if line.startswith("bn "))
    assert line.split()[:4] == ["bn", "caffe", "torch", "6"]
    assert "the divisor of the sums" in line
    assert float(line.split()[-1]) < 1e-6
    assert "1 layers converted, 0 other arrays" in said
    assert files.read(out).layers[0].dialect == "torch"


def test_what_the_file_does_not_tell_is_taken_from_set(tmp_path: Path) -> None:
    """A later --set goes before an earlier one, and the table shows what the target needs."""
    out = tmp_path / "o.npz"
    settings = ["--set", "*.eps=0.01", "--set", "2.eps=1e-4", "--set", "2.fix_gamma=true"]
    status, printed, said = convert(GLUON, str(out), "--to", "flax", *settings)
    assert status == 0
    assert "epsilon=0.01" in printed
    assert "epsilon=0.0001" in printed
    assert "are taken for granted" in said


def test_a_loss_needs_a_word(tmp_path: Path) -> None:
    """Without --n or --allow-loss nothing is written, and the status is 2."""
    out = tmp_path / "o.npz"
    status, printed, said = convert(GLUON, str(out), "--to", "torch")
    assert (status, printed) == (2, "")
    assert said.startswith("Error: gluon.params, layer 0, ")
    assert list(tmp_path.iterdir()) == []
    assert convert(GLUON, str(out), "--to", "torch", "--n", "1000")[0] == 0
    assert convert(GLUON, str(out), "--to", "torch", "--allow-loss")[0] == 0


def test_whose_layers_they_are_can_be_said(tmp_path: Path) -> None:
    """MXNet on cuDNN keeps the unbiased variance, as PyTorch does: there is nothing to lose."""
    out = tmp_path / "o.npz"
    status, printed, _ = convert(GLUON, str(out), "--to", "torch", "--from", "mxnet-cudnn")
    assert status == 0
    assert "mxnet-cudnn" in printed
    assert "biased" not in printed


def test_formats_can_be_named(tmp_path: Path) -> None:
    """Where the endings do not tell."""
    (tmp_path / "a").write_bytes(Path(GLUON).read_bytes())
    options = ["--to", "keras", "--from-format", "mxnet", "--to-format", "npz"]
    assert convert(str(tmp_path / "a"), str(tmp_path / "b"), *options)[0] == 0
    assert "0/moving_variance" in np.load(tmp_path / "b")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--set", "eps=1"], "must be LAYER.OPTION=VALUE"),
        (["--set", "a.eps"], "must be LAYER.OPTION=VALUE"),
        (["--set", "0.eps=big"], "must be a number, true or false, got big"),
        (["--set", "9.eps=1"], "normalization layer that matches '9'"),
        (["--set", "0.epsilon=1"], "layer 0, "),
        (["--n", "1"], "Invalid value for '--n'"),
        (["--to-format", "zip"], "format must be one of"),
        (["--from", "torch"], "the dialect of layer 0 must be one of "),
        (["--to", "tensorflow"], "dialect must be one of"),
        (["--net", "nowhere.json"], "nowhere.json cannot be read"),
    ],
)
def test_wrong_use_ends_with_2(arguments: list[str], words: str, tmp_path: Path) -> None:
    """With words on stderr, and no file."""
    out = tmp_path / "o.npz"
    status, printed, said = convert(GLUON, str(out), "--to", "flax", *arguments)
    assert (status, printed) == (2, "")
    assert words in said.replace("\n", " ")
    assert not out.exists()


def test_a_model_without_layers_is_refused(tmp_path: Path) -> None:
    """A wrong format, or a network that names other layers, does not pass for a conversion."""
    source, out = tmp_path / "i.npz", tmp_path / "o.npz"
    np.savez(source, **{"fc.weight": np.ones((3, 2), np.float32)})
    status, printed, said = convert(str(source), str(out), "--to", "torch")
    assert (status, printed) == (2, "")
    assert said.startswith("Error: i.npz has no normalization layer, only 1 other")
    assert not out.exists()

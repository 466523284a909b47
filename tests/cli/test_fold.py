"""backnorm convert --fold: what it prints, what it writes, and how it ends."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from backnorm.cli import main
from backnorm.convert import files

GOLDENS = Path(__file__).parents[1] / "dialects" / "goldens"
CAFFE = str(GOLDENS / "caffe" / "c046m.caffemodel")


def convert(*arguments: str) -> tuple[int, str, str]:
    """Run the command, and return its exit status, what it printed, and what it said."""
    result = CliRunner().invoke(main, ["convert", *arguments])
    return result.exit_code, result.stdout, result.stderr


def states(folder: Path) -> tuple[str, str]:
    """A state_dict with two norms, and one of the network without the first of them."""
    c = np.ones(3, np.float32)
    kernels = {f"conv{i}.weight": np.ones((3, 2, 1, 1), np.float32) for i in (1, 2)}
    fields = ("weight", "bias", "running_mean", "running_var")
    norms = {f"bn{i}.{field}": c for i in (1, 2) for field in fields}
    np.savez(folder / "a.npz", **kernels, **norms)
    left = {name: array for name, array in norms.items() if name.startswith("bn2")}
    np.savez(folder / "t.npz", **kernels, **left, **{"conv1.bias": c})
    return str(folder / "a.npz"), str(folder / "t.npz")


def test_what_was_folded_is_printed_and_what_was_not_is_said(tmp_path: Path) -> None:
    """With what was assumed, which the folded values depend on: eps, and nothing else."""
    source, twin = states(tmp_path)
    out = tmp_path / "o.npz"
    status, printed, said = convert(source, str(out), "--fold", "--like", twin)
    assert status == 0
    assert printed.splitlines()[0].split() == ["layer", "folded", "into", "C", "assumed"]
    assert printed.splitlines()[2].split() == ["bn1", "conv1", "3", "eps=1e-05"]
    assert said.splitlines() == [
        "note: a.npz does not tell eps of bn1: 1e-05 is assumed; --set '*.eps=VALUE' sets it",
        "note: bn2: not folded, since t.npz has it too",
        "o.npz: 1 layer folded, 1 left as it is.",
    ]
    assert sorted(np.load(out)) == sorted(np.load(twin))
    told = convert(source, str(out), "--fold", "--like", twin, "--set", "*.eps=0")
    assert "assumed;" not in told[2]
    assert np.load(out)["conv1.weight"].ravel().tolist() == [1.0] * 6


def test_names_of_the_target_are_taken(tmp_path: Path) -> None:
    """As --like does without --fold."""
    source, twin = states(tmp_path)
    arrays = {name.replace("conv", "features."): array for name, array in np.load(twin).items()}
    np.savez(twin, **arrays)
    status, _, said = convert(
        source, str(tmp_path / "o.npz"), "--fold", "--like", twin, "--rename", "conv*=features.*"
    )
    assert (status, said.count("Error")) == (0, 0)
    assert sorted(np.load(tmp_path / "o.npz")) == sorted(arrays)


def test_none_folded_ends_with_2(tmp_path: Path) -> None:
    """A file that Caffe itself saved, of a norm alone."""
    out = tmp_path / "o.caffemodel"
    status, printed, said = convert(CAFFE, str(out), "--fold")
    assert (status, printed) == (2, "")
    assert said.startswith("Error: The norm of c046m.caffemodel cannot be folded. bn: ")
    assert not out.exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "Missing option '--to': name the dialect of the layers in OUT, or pass --fold"),
        (["--fold", "--to", "torch"], "--fold cannot be used with --to"),
        (["--fold"], "Pass --like TARGET, a state_dict of the network without norms."),
        (["--fold", "--like", "nowhere.npz"], "nowhere.npz cannot be read"),
    ],
)
def test_wrong_use_ends_with_2(arguments: list[str], words: str, tmp_path: Path) -> None:
    """With words on stderr, and no file."""
    out = tmp_path / "o.npz"
    status, printed, said = convert(states(tmp_path)[0], str(out), *arguments)
    assert (status, printed) == (2, "")
    assert words in " ".join(said.replace("│", "").split())
    assert not out.exists()


def test_the_prototxt_is_told_and_written(tmp_path: Path) -> None:
    """Beside OUT, under its name."""
    (tmp_path / "a.prototxt").write_text(
        'layer { name: "c" type: "Convolution" bottom: "x" top: "y" }\n'
        'layer { name: "n" type: "BatchNorm" bottom: "y" top: "y" }\n'
    )
    one = np.ones(1, np.float32)
    fields = {"mean": one, "variance": one, "scale_factor": one}
    layer = files.NormLayer("n", "caffe", fields)
    kernel = {"c": np.ones((1, 2, 1, 1), np.float32)}
    model = files.ModelFile(tmp_path / "a.caffemodel", "caffemodel", (layer,), kernel)
    files.write(tmp_path / "a.caffemodel", model)
    out = tmp_path / "b.caffemodel"
    status, _, said = convert(str(tmp_path / "a.caffemodel"), str(out), "--fold")
    assert status == 0
    assert said.splitlines()[-1] == (
        "b.caffemodel: 1 layer folded, 0 left as they are; b.prototxt describes the network "
        "without them."
    )
    text = 'layer { name: "c" type: "Convolution" bottom: "x" top: "y" }\n'
    assert (tmp_path / "b.prototxt").read_text() == text

"""backnorm convert: what it prints, what it writes, and how it ends."""

from __future__ import annotations

import subprocess
import sys
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
    assert " divisor " in line
    assert "note: not carried (divisor) of bn: the divisor of the sums" in said
    assert float(line.split()[-1]) < 1e-6
    assert "1 layer converted, 0 other arrays" in said
    assert files.read(out).layers[0].dialect == "torch"


def test_what_the_file_does_not_tell_is_taken_from_set(tmp_path: Path) -> None:
    """A later --set goes before an earlier one, and the table shows what the target needs."""
    out = tmp_path / "o.npz"
    settings = ["--set", "*.eps=0.01", "--set", "2.eps=1e-4", "--set", "2.fix_gamma=true"]
    status, printed, said = convert(GLUON, str(out), "--to", "flax", *settings)
    assert status == 0
    assert "epsilon=0.01" in printed
    assert "epsilon=0.0001" in printed
    assert "so Gluon's defaults are assumed" in said


def test_another_estimator_is_a_note_or_with_strict_a_refusal(tmp_path: Path) -> None:
    """A refusal writes nothing, and the status is 2."""
    out = tmp_path / "o.npz"
    status, printed, said = convert(GLUON, str(out), "--to", "torch", "--strict")
    assert (status, printed) == (2, "")
    assert said.startswith("Error: gluon.params, layer 0, ")
    assert list(tmp_path.iterdir()) == []
    for more in ([], ["--strict", "--n", "1000"], ["--strict", "--allow-loss"]):
        status, printed, said = convert(GLUON, str(out), "--to", "torch", *more)
        assert status == 0
        assert "estimator" in printed
        note = "note: not carried (estimator) of 0, 2: the running variance is biased, and torch "
        assert f"{note}keeps it unbiased; the output in eval is the same" in said


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


def test_kernels_are_told_by_set(tmp_path: Path) -> None:
    """What is flattened before a dense layer, and what an array is."""
    source, out = tmp_path / "m.npz", tmp_path / "o.npz"
    arrays = {f"bn.running_{name}": np.ones(4, np.float32) for name in ("mean", "var")}
    arrays |= {"fc.weight": np.ones((3, 4), np.float32), "fc.bias": np.ones(3, np.float32)}
    np.savez(source, **arrays, **{"q.weight": np.ones((3, 3), np.float32)})
    options = ["--to", "keras", "--set", "*.flatten=false"]
    status, _, said = convert(str(source), str(out), *options)
    assert (status, "Pass --set 'q.kind=dense' if it is" in said) == (2, True)
    assert convert(str(source), str(out), *options, "--set", "q.kind=dense")[0] == 0
    assert {"fc/kernel", "fc/bias", "q/kernel"} <= set(np.load(out))


def test_a_model_without_layers_is_refused(tmp_path: Path) -> None:
    """A wrong format, or a network that names other layers, does not pass for a conversion."""
    source, out = tmp_path / "i.npz", tmp_path / "o.npz"
    np.savez(source, **{"fc.weight": np.ones((3, 2), np.float32)})
    status, printed, said = convert(str(source), str(out), "--to", "torch")
    assert (status, printed) == (2, "")
    assert said.startswith(
        "Error: i.npz has no normalization layer that can be converted, only 1 other"
    )
    assert not out.exists()


def caffe_npz(folder: Path) -> str:
    """A file of PyTorch's arrays beside two of one shape, and one of another."""
    arrays = {"conv_1.0": (4, 2), "conv_2.0": (4, 2), "fc": (7,)}
    fields = ("weight", "bias", "running_mean", "running_var")
    named = {f"bn.{field}": np.ones(4, np.float32) for field in fields}
    named |= {name: np.ones(shape, np.float32) for name, shape in arrays.items()}
    np.savez(folder / "a.npz", **named)
    return str(folder / "a.npz")


def test_arrays_are_renamed(tmp_path: Path) -> None:
    """By pairs, and by a file of pairs, of which a later one wins."""
    out, pairs = tmp_path / "o.npz", tmp_path / "names.txt"
    pairs.write_text("# the body\nconv_*.0=features.*.weight\nbn.*=body.1.*\n")
    renames = ["--rename", f"@{pairs}", "--rename", "conv_2.0=tail"]
    assert convert(caffe_npz(tmp_path), str(out), "--to", "torch", *renames)[0] == 0
    model = files.read(out)
    assert [layer.name for layer in model.layers] == ["body.1"]
    assert set(model.others) == {"features.1.weight", "tail", "fc"}


@pytest.mark.parametrize(
    ("rename", "words"),
    [
        ("conv", "must be OLD=NEW, got conv"),
        ("@nowhere.txt", "nowhere.txt cannot be read"),
        ("x=y", "has no array whose name matches 'x'"),
        ("conv_*.0=conv", "conv would be the name of both conv_1.0 and conv_2.0"),
    ],
)
def test_a_wrong_pair_ends_with_2(rename: str, words: str, tmp_path: Path) -> None:
    """And nothing is written."""
    out = tmp_path / "o.npz"
    status, _, said = convert(caffe_npz(tmp_path), str(out), "--to", "torch", "--rename", rename)
    assert status == 2
    assert words in " ".join(said.split())
    assert not out.exists()


def test_the_names_of_another_file_are_taken(tmp_path: Path) -> None:
    """Pairs are printed as --rename takes them; what is in doubt is refused until it is told."""
    source, like, out = caffe_npz(tmp_path), tmp_path / "like.npz", tmp_path / "o.npz"
    assert convert(source, str(like), "--to", "torch", "--rename", "*=net.*")[0] == 0
    model = files.read(like)
    renamed = files.with_names(model, [("net.conv_*.0", "net.c*"), ("net.bn.*", "n.*")])
    files.write(like, renamed)
    options = ["--to", "torch", "--like", str(like)]
    status, _, said = convert(source, str(out), *options)
    assert status == 2
    assert "Pass --rename. If their numbers tell the order: --rename 'conv_1.0=net.c1'" in said
    status, _, said = convert(source, str(out), *options, "--rename", "conv_1.0=net.c1")
    assert status == 0
    assert (
        "note: arrays get other names, so the file is written anew and holds arrays alone" in said
    )
    lines = said.splitlines()
    assert {"conv_2.0=net.c2", "fc=net.fc", "bn.weight=n.weight"} <= set(lines)
    assert set(files.read(out).others) == {"net.c1", "net.c2", "net.fc"}


def test_what_the_other_file_does_not_tell_is_taken_from_like_set(tmp_path: Path) -> None:
    """Its layers have other names than those of the file that is converted."""
    like, source, out = (tmp_path / name for name in ("l.weights.h5", "a.npz", "o.weights.h5"))
    arrays = {"beta": np.zeros(4), "moving_mean": np.ones(4), "moving_variance": np.ones(4)}
    h5py = pytest.importorskip("h5py")
    with h5py.File(like, "w") as whole:
        for index, array in enumerate(arrays.values()):
            whole[f"layers/batch_normalization/vars/{index}"] = array.astype(np.float32)
    fields = {"weight": 1, "bias": 5, "running_mean": 6, "running_var": 7}
    values = {f"bn.{field}": np.full(4, value, np.float32) for field, value in fields.items()}
    np.savez(source, **values)
    options = [str(source), str(out), "--to", "keras", "--set", "*.eps=1e-3", "--like", str(like)]
    status, _, said = convert(*options)
    assert status == 2
    assert "for the file of --like, --like-set" in said
    status, _, said = convert(*options, "--like-set", "*.scale=false")
    assert (status, "gamma is left out" in said) == (0, True)
    (layer,) = files.read(out, settings=[("*", "scale", False)]).layers
    assert [float(array[0]) for array in layer.state.values()] == [5, 6, 7]
    assert convert(*options, "--like-set", "*.scale=true")[0] == 2


def test_like_set_without_like_is_refused(tmp_path: Path) -> None:
    """It would have no effect."""
    more = ["--to", "torch", "--like-set", "*.scale=false"]
    status, _, said = convert(CAFFE, str(tmp_path / "o.npz"), *more)
    assert status == 2
    assert "--like-set is for the file of --like, which is missing" in said


def npz_of(folder: Path, count: int = 5) -> str:
    """A file with some layers in PyTorch's names, which tells neither eps nor momentum."""
    fields = ("weight", "bias", "running_mean", "running_var")
    layers = [f"bn{index}" for index in range(count)]
    arrays = {f"{layer}.{field}": np.ones(4, np.float32) for layer in layers for field in fields}
    np.savez(folder / "a.npz", **arrays)
    return str(folder / "a.npz")


def test_what_the_file_does_not_tell_is_named_once(tmp_path: Path) -> None:
    """With the option that sets it; and no difference is shown that depends on a guess."""
    source, out = npz_of(tmp_path), str(tmp_path / "o.npz")
    status, printed, said = convert(source, out, "--to", "flax", "--allow-loss")
    assert status == 0
    where = "of bn0, bn1, bn2 and 2 more layers"
    assert said.splitlines()[:3] == [
        f"note: a.npz does not tell eps {where}: 1e-05 is assumed; --set '*.eps=VALUE' sets it",
        (
            f"note: a.npz does not tell momentum {where}: 0.1 is assumed; "
            "--set '*.momentum=VALUE' sets it"
        ),
        (
            f"note: a.npz does not tell estimator {where}: the running variance is taken as "
            "unbiased, as torch keeps it; --from DIALECT says whose layers they are"
        ),
    ]
    assert printed.count("eps=1e-05") == 5
    assert printed.count("unknown") == 5


def test_what_is_told_is_not_named(tmp_path: Path) -> None:
    """By --set and --from; the difference is known then."""
    source, out = npz_of(tmp_path, 1), str(tmp_path / "o.npz")
    told = ["--set", "*.eps=1e-5", "--set", "*.momentum=0.1", "--from", "torch"]
    _, printed, said = convert(source, out, "--to", "flax", "--allow-loss", *told)
    assert "does not tell" not in said
    assert "unknown" not in printed


def test_a_layer_that_is_not_converted_needs_no_guess(tmp_path: Path) -> None:
    """From PyTorch to PyTorch every array is copied, whatever eps is."""
    _, printed, said = convert(npz_of(tmp_path), str(tmp_path / "o.npz"), "--to", "torch")
    assert "does not tell" not in said
    assert "unknown" not in printed


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            ["--to", "keras", "--strict"],
            "Pass --n, the values per channel it was taken over (batch ",
        ),
        (["--to", "torch", "--memory", "0"], "If you trust the file, pass --memory MIB."),
    ],
)
def test_messages_speak_of_options(arguments: list[str], words: str, tmp_path: Path) -> None:
    """Not of the arguments of a Python function."""
    status, _, said = convert(npz_of(tmp_path), str(tmp_path / "o.npz"), *arguments)
    assert status == 2
    assert words in said
    assert "allow_loss" not in said


def test_names_from_a_file_do_not_move_the_terminal(tmp_path: Path) -> None:
    """In the table, in notes and in errors their control characters are written out."""
    name = "\x1b]0;owned\x07bn\nError"
    ones = np.ones(4, np.float32)
    arrays = {f"{name}.running_mean": ones, f"{name}.running_var": ones}
    np.savez(tmp_path / "a.npz", **arrays)
    source, out = str(tmp_path / "a.npz"), str(tmp_path / "o.npz")
    for arguments in ([], ["--allow-loss"]):
        _, printed, said = convert(source, out, "--to", "flax", *arguments)
        assert "owned" in said
        assert "\x1b" not in printed + said
        assert "\nError\n" not in printed + said
    assert "owned" in printed


def test_a_layer_without_a_name_is_named_in_notes(tmp_path: Path) -> None:
    """The state_dict of one layer alone names its arrays and not itself."""
    c = np.ones(3, np.float32)
    np.savez(tmp_path / "m.npz", running_mean=c, running_var=c)
    *_, said = convert(str(tmp_path / "m.npz"), str(tmp_path / "o.npz"), "--to", "keras")
    assert "note: m.npz does not tell eps of '': 1e-05 is assumed" in said


def test_what_is_left_out_is_not_counted(tmp_path: Path) -> None:
    """The counts are those of the file that was written."""
    c = np.ones(3, np.float32)
    names = ("a.running_mean", "a.running_var", "b.running_mean", "b.running_var", "x", "y")
    np.savez(tmp_path / "m.npz", **dict.fromkeys(names, c))
    out = str(tmp_path / "o.npz")
    rename = ("--rename", "a.*=", "--rename", "x=")
    *_, said = convert(str(tmp_path / "m.npz"), out, "--to", "torch", *rename)
    assert "o.npz: 1 layer converted, 1 other array copied under new names." in said


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="/dev/full is not on this system")
def test_a_full_stderr_changes_no_status(tmp_path: Path) -> None:
    """The file is written and the table printed, whether or not the notes can be."""
    out = tmp_path / "o.npz"
    command = [sys.executable, "-m", "backnorm", "convert", CAFFE, str(out), "--to", "torch"]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=full, check=False)
    assert done.returncode == 0
    assert b"caffe" in done.stdout
    assert out.exists()

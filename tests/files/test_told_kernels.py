"""What a file does not tell of kernels is refused where it matters, until the caller says it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from backnorm.convert import files
from backnorm.errors import FileError, KernelError
from files import models
from files.test_kernels import C, flat

if TYPE_CHECKING:
    from pathlib import Path

    from backnorm.convert.files.record import Setting

CHANNELS, PLACES, OUT = 2, 3, 5


def state(folder: Path, *settings: Setting, out: int = OUT) -> files.ModelFile:
    """A state_dict with a dense layer that has 6 inputs; row s, c of the map is 10 s + c."""
    rows = [10 * place + channel for channel in range(CHANNELS) for place in range(PLACES)]
    weight = np.tile(np.array(rows, np.float32), (out, 1))
    flat(folder, "torch", {"fc.weight": weight, "fc.bias": np.zeros(out, np.float32)})
    return files.read(folder / "m.npz", settings=settings)


def keras_rows(model: files.ModelFile, folder: Path) -> list[float]:
    """The kernel's rows in a file of Keras."""
    converted, _ = files.convert_model(model, folder / "o.npz", "keras", n=9)
    rows: list[float] = converted.others["fc/kernel"][:, 0].tolist()
    return rows


def test_an_order_that_is_not_told_is_refused(tmp_path: Path) -> None:
    """With each layer, and the option that tells it."""
    with pytest.raises(KernelError, match=r"flattened before fc \(6 inputs\)") as caught:
        keras_rows(state(tmp_path), tmp_path)
    assert "--set 'fc.flatten=false' if no map is" in caught.value.in_command()


def test_what_is_told_decides_the_order(tmp_path: Path) -> None:
    """The later setting wins."""
    settings: list[Setting] = [("*", "flatten", False), ("fc", "flatten", CHANNELS)]
    last = [0.0, 1.0, 10.0, 11.0, 20.0, 21.0]
    assert keras_rows(state(tmp_path, *settings), tmp_path) == last
    kept = keras_rows(state(tmp_path, settings[0]), tmp_path)
    assert kept == [0.0, 10.0, 20.0, 1.0, 11.0, 21.0]


@pytest.mark.parametrize("pattern", ["*", "f?"])
def test_a_setting_that_a_later_pattern_hides_is_refused(pattern: str, tmp_path: Path) -> None:
    """It would have no effect, and the rows would have another order than it says."""
    hidden: list[Setting] = [("fc", "flatten", CHANNELS), (pattern, "flatten", False)]
    with pytest.raises(FileError, match=r"'fc\.flatten=2' for m\.npz has no effect") as caught:
        state(tmp_path, *hidden)
    assert f"--set '{pattern}.flatten=false' first" in caught.value.in_command()
    state(tmp_path, hidden[0], (pattern, "flatten", CHANNELS))


@pytest.mark.parametrize("patterns", [("*", "fc"), ("*", "f?"), ("f*", "??"), ("[e-g]c", "fc")])
def test_a_later_pattern_that_is_not_wider_hides_nothing(
    patterns: tuple[str, str], tmp_path: Path
) -> None:
    """The first still counts for other layers."""
    first, later = patterns
    settings: list[Setting] = [(first, "flatten", False), (later, "flatten", CHANNELS)]
    assert keras_rows(state(tmp_path, *settings), tmp_path)[1] == 1


@pytest.mark.parametrize("value", [True, 4, 0, 2.0])
def test_channels_that_do_not_divide_are_refused(value: float, tmp_path: Path) -> None:
    """And what is not a number of channels."""
    with pytest.raises(KernelError, match="flatten must be false or a divisor of 6"):
        state(tmp_path, ("fc", "flatten", value))


@pytest.mark.parametrize("option", ["flatten", "kind"])
def test_a_pattern_that_fits_no_kernel_is_refused(option: str, tmp_path: Path) -> None:
    """As one that fits no normalization layer is."""
    with pytest.raises(KernelError, match="that matches 'fd'"):
        state(tmp_path, ("fd", option, False))


def test_the_order_of_a_prime_number_of_inputs_cannot_differ(tmp_path: Path) -> None:
    """So nothing has to be told."""
    others = {"fc.weight": np.ones((2, 7), np.float32), "fc.bias": np.ones(2, np.float32)}
    converted, _ = files.convert_model(
        flat(tmp_path, "torch", others), tmp_path / "o.npz", "keras", n=9
    )
    assert converted.others["fc/kernel"].shape == (7, 2)


SQUARE = {"q.weight": np.arange(9, dtype=np.float32).reshape(3, 3)}


def test_a_square_matrix_is_refused_until_its_kind_is_told(tmp_path: Path) -> None:
    """Without a bias it may be an embedding."""
    model = flat(tmp_path, "torch", SQUARE)
    with pytest.raises(KernelError, match="whether q is the kernel of a dense layer"):
        files.convert_model(model, tmp_path / "o.npz", "keras", n=9)
    for kind, name, wanted in (
        ("dense", "q/kernel", SQUARE["q.weight"].T),
        ("other", "q.weight", SQUARE["q.weight"]),
    ):
        model = files.read(tmp_path / "m.npz", settings=[("q", "kind", kind)])
        converted, _ = files.convert_model(model, tmp_path / "o.npz", "keras", n=9)
        np.testing.assert_array_equal(converted.others[name], wanted)
        assert not any("does not tell what" in note for note in converted.notes)


def test_the_kind_of_a_convolution_can_be_told(tmp_path: Path) -> None:
    """Depthwise kernels of PyTorch look like those of a convolution of one channel."""
    flat(tmp_path, "torch", {"dw.weight": np.ones((4, 1, 3, 3), np.float32)})
    model = files.read(tmp_path / "m.npz", settings=[("dw", "kind", "depthwise")])
    converted, _ = files.convert_model(model, tmp_path / "o.npz", "keras", n=9)
    assert {name: a.shape for name, a in converted.others.items()} == {
        "dw/depthwise_kernel": (3, 3, 4, 1)
    }
    with pytest.raises(KernelError, match="kind must be conv or depthwise or transposed or other"):
        files.read(tmp_path / "m.npz", settings=[("dw", "kind", "dense")])


def test_the_kernels_of_a_separable_convolution_keep_two_names(tmp_path: Path) -> None:
    """And come back under them."""
    shapes = {
        "s/depthwise_kernel": (3, 3, 4, 1),
        "s/pointwise_kernel": (1, 1, 4, 7),
        "s/bias": (7,),
    }
    model = flat(tmp_path, "keras", {n: np.ones(shape, np.float32) for n, shape in shapes.items()})
    converted, _ = files.convert_model(model, tmp_path / "o.npz", "torch", n=9)
    assert list(converted.others) == ["s.depthwise_weight", "s.pointwise_weight", "s.bias"]
    files.write(tmp_path / "o.npz", converted)
    back, _ = files.convert_model(
        files.read(tmp_path / "o.npz"), tmp_path / "b.npz", "keras", n=9, allow_loss=True
    )
    assert {name: array.shape for name, array in back.others.items()} == shapes


def test_names_that_would_be_alike_are_refused(tmp_path: Path) -> None:
    """A kernel never replaces another array."""
    others = {"c.weight": np.ones((2, 2, 3), np.float32), "c/kernel": np.ones(2, np.float32)}
    with pytest.raises(FileError, match="c/kernel"):
        files.convert_model(flat(tmp_path, "torch", others), tmp_path / "o.npz", "keras", n=9)


def test_an_option_that_contradicts_the_arrays_is_refused(tmp_path: Path) -> None:
    """If no layer that it fits agrees."""
    flat(tmp_path, "keras", {})
    with pytest.raises(FileError, match=r"bn, scale must agree .* has moving_mean, moving_var"):
        files.read(tmp_path / "m.npz", settings=[("*", "scale", True)])
    assert len(files.read(tmp_path / "m.npz", settings=[("*", "scale", False)]).layers) == 1


def test_a_setting_in_place_of_what_the_file_tells_is_said() -> None:
    """The option is taken, since the caller knows, and the table does not show that."""
    models.need("keras")
    path = models.SAMPLES / "keras.keras"
    told = files.read(path).layers[0]
    same = files.read(path, settings=[(told.name, "epsilon", told.options["epsilon"])])
    assert not any("in place of" in note for note in same.notes)
    other = files.read(path, settings=[("*", "epsilon", 0.25), (told.name, "epsilon", 0.5)])
    note = f"{told.name}: epsilon is set to 0.5 in place of {told.options['epsilon']}, which the"
    assert any(said.startswith(note) for said in other.notes)


def test_names_of_keras_tell_the_framework(tmp_path: Path) -> None:
    """So the estimator of its variance is known."""
    flat(tmp_path, "keras", {"x": np.ones(C, np.float32)})
    findings = files.inspect_model(files.open_lazily(tmp_path / "m.npz")).findings
    assert "F09" not in {finding.code for finding in findings}

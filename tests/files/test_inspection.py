"""Inspections: each finding is made by a layer that has it, and by no sound layer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from backnorm.convert import files
from backnorm.convert.files.inspection import ENTRIES
from backnorm.errors import ConversionError, FileError
from files import models

if TYPE_CHECKING:
    from pathlib import Path

C = 4
SOUND = {
    "weight": np.array([0.5, 1.0, -1.5, 2.0], np.float32),
    "bias": np.zeros(C, np.float32),
    "running_mean": np.array([0.1, 0.2, 0.3, -0.4], np.float32),
    "running_var": np.array([0.5, 1.0, 2.0, 3.0], np.float32),
}
NOTES = ["F08"]
"""What every file of arrays alone has: it does not tell eps."""


def changed(field: str, channel: int, value: float) -> dict[str, np.ndarray]:
    """The sound layer with one other value."""
    array = SOUND[field].copy()
    array[channel] = value
    return {**SOUND, field: array}


def inspected(state: dict[str, np.ndarray], **others: np.ndarray) -> files.Inspection:
    """Inspect a layer of PyTorch."""
    layers = (files.NormLayer("bn", "torch", state, {}, ("eps",)),) if state else ()
    return files.inspect_model(files.ModelFile(models.SAMPLES / "m.npz", "npz", layers, others))


NEW = {"running_mean": np.zeros(C, np.float32), "running_var": np.ones(C, np.float32)}


@pytest.mark.parametrize(
    ("state", "code", "got"),
    [
        (changed("running_mean", 1, np.nan), "F01", "NaN or infinity in mean in channel 1 of 4"),
        (changed("weight", 3, np.inf), "F01", "NaN or infinity in gamma in channel 3 of 4"),
        (changed("bias", 0, -np.inf), "F01", "NaN or infinity in beta in channel 0 of 4"),
        (changed("running_var", 2, np.nan), "F01", "NaN or infinity in var in channel 2 of 4"),
        (changed("running_var", 2, -0.5), "F02", "a variance of -0.5 in channel 2 of 4"),
        ({**SOUND, **NEW}, "F03", "mean 0 and variance 1 in all channels"),
        (changed("weight", 0, 0.0), "F04", "gamma 0 in channel 0 of 4"),
        (
            changed("running_var", 0, 1e-7),
            "F05",
            "a variance down to 1e-07, with eps 1e-05 in channel 0 of 4",
        ),
    ],
)
def test_a_fault_of_a_layer_is_found(state: dict[str, np.ndarray], code: str, got: str) -> None:
    """With its code and its channels, beside the note on eps and nothing else."""
    result = inspected(state)
    assert [finding.code for finding in result.findings] == [code, *NOTES]
    assert (result.findings[0].layer, result.findings[0].got) == ("bn", got)


def test_a_sound_layer_has_no_finding() -> None:
    """Its table has the ranges of all arrays."""
    result = inspected(SOUND)
    assert [finding.code for finding in result.findings] == NOTES
    (layer,) = result.layers
    assert (layer.name, layer.dialect, layer.channels) == ("bn", "torch", C)
    assert (layer.eps, layer.momentum, dict(layer.assumed)) == (1e-5, 0.1, {"eps": 1e-5})
    assert (layer.gamma, layer.var) == ((-1.5, 2.0), (0.5, 3.0))
    assert layer.mean == pytest.approx((-0.4, 0.3))


def test_a_layer_without_channels_is_inspected() -> None:
    """It has no values that could be those of a new layer."""
    result = inspected({name: array[:0] for name, array in SOUND.items()})
    assert [finding.code for finding in result.findings] == NOTES
    assert result.layers[0].channels == 0


def test_the_variance_of_mxnet_may_be_rounded_below_zero() -> None:
    """What conversion lets pass is not a negative variance, though it is below eps."""
    codes = [finding.code for finding in inspected(changed("running_var", 0, -1e-7)).findings]
    assert codes == ["F05", *NOTES]


@pytest.mark.parametrize(
    ("others", "code", "got"),
    [
        ({"c.weight": (4, 3, 3, 3), "c.bias": (4,)}, "F06", "1 convolutions with a bias"),
        ({"c/kernel": (3, 3, 3, 4), "c/bias": (4,)}, "F06", "such as c/kernel"),
        ({"c.0": (4, 3, 3, 3), "c.1": (4,)}, "F06", "such as c.0"),
        ({"c.weight": (4, 3, 3, 3)}, "F07", "1 arrays: 1 arrays of 3 axes or more"),
        ({"fc.weight": (4, 3), "fc.bias": (4,)}, "F07", "2 arrays: 1 matrices, 1 vectors"),
        (
            {"c.weight": (4, 3, 3, 3), "c.bias": (4,), "ln.weight": (4,), "ln.bias": (4,)},
            "F07",
            "1 pairs of vectors may be layer or group norm",
        ),
        ({}, "F07", "0 arrays"),
    ],
)
def test_a_file_without_a_layer_says_what_it_has(
    others: dict[str, tuple[int, ...]], code: str, got: str
) -> None:
    """Convolutions with a bias may hold a batch norm, unless another norm is behind them."""
    arrays = {name: np.zeros(shape, np.float32) for name, shape in others.items()}
    (finding,) = inspected({}, **arrays).findings
    assert (finding.code, finding.layer) == (code, None)
    assert got in finding.got


def test_what_files_do_not_tell_is_a_note() -> None:
    """eps, and whose layers they are where several frameworks keep other variances."""
    assert [code for code, entry in ENTRIES.items() if entry.is_note] == ["F08", "F09"]
    layer = files.NormLayer("bn", "torch", SOUND, {}, ("eps", "estimator"))
    model = files.ModelFile(models.SAMPLES / "m.npz", "npz", (layer,))
    findings = files.inspect_model(model).findings
    assert [finding.code for finding in findings] == ["F08", "F09"]
    assert findings[1].got == "assumed: torch, whose variance is unbiased"


def test_a_faulty_layer_can_be_inspected_and_not_converted(tmp_path: Path) -> None:
    """For the one it is a finding, for the other a refusal."""
    state = changed("running_var", 2, -0.5)
    np.savez(tmp_path / "m.npz", **{f"bn.{name}": array for name, array in state.items()})
    codes = [f.code for f in files.inspect_model(files.open_lazily(tmp_path / "m.npz")).findings]
    assert codes[0] == "F02"
    with pytest.raises(FileError, match=r"running_var must not be negative, got -0\.5"):
        files.read(tmp_path / "m.npz")


def test_sums_are_divided_and_averages_are_freed() -> None:
    """What is shown is what eval uses."""
    state = {"mean": np.ones(2), "variance": np.full(2, 6.0), "scale_factor": np.array([2.0])}
    layer = files.NormLayer("bn", "caffe", state)
    (summary,) = files.inspect_model(files.ModelFile(models.SAMPLES / "m", "x", (layer,))).layers
    assert (summary.mean, summary.var) == ((0.5, 0.5), (3.0, 3.0))


def test_an_option_that_does_not_fit_names_the_layer() -> None:
    """As a conversion would."""
    layer = files.NormLayer("bn", "torch", SOUND, {"eps": -1.0})
    with pytest.raises(ConversionError, match=r"^m\.npz, layer bn, eps must"):
        files.inspect_model(files.ModelFile(models.SAMPLES / "m.npz", "npz", (layer,)))


@pytest.mark.parametrize("name", models.SAMPLED)
def test_every_sample_is_inspected_as_it_is_read(name: str) -> None:
    """Lazily or not, the layers and all other arrays are the same."""
    models.need(models.FILES[name].format)
    path, net, told = models.FILES[name].path, models.FILES[name].net, models.FILES[name].options
    lazy = files.open_lazily(path, net=net, settings=told)
    whole = files.read(path, net=net, settings=told)
    assert files.inspect_model(lazy) == files.inspect_model(whole)
    assert set(lazy.others) == set(whole.others)
    for key, array in whole.others.items():
        np.testing.assert_array_equal(lazy.others[key], array, strict=True)


def test_a_layer_that_lacks_arrays_is_noted(tmp_path: Path) -> None:
    """Statistics alone tell that a layer was there; no count of arrays would."""
    c = np.ones(3, np.float32)
    whole = {"a.running_mean": c, "a.running_var": c}
    np.savez(tmp_path / "m.npz", **whole, **{"b.running_mean": c, "c.running_mean": c, "d.mean": c})
    model = files.read(tmp_path / "m.npz")
    words = "statistics of a layer that lacks other arrays; it is not converted"
    assert model.notes == (f"b.running_mean, c.running_mean: {words}",)
    assert files.inspect_model(model).notes == model.notes


def test_notes_tell_why_there_is_no_layer() -> None:
    """What they name is not taken for layer norm."""
    c = np.ones(3, np.float32)
    others = {"bn.weight": c, "bn.bias": c}
    model = files.ModelFile("m.onnx", "onnx", (), others, ("bn: training_mode is 1",))
    (finding,) = files.inspect_model(model).findings
    assert (finding.code, finding.got) == ("F07", "2 arrays: 2 vectors; bn: training_mode is 1")

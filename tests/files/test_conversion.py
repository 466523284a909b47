"""Whole models converted: what is carried, and what the table says of each layer."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from backnorm.convert import files
from backnorm.testing.budget import SAME_OUTPUT
from files import models

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("name", models.WRITABLE)
def test_within_one_format_and_dialect_everything_is_carried(name: str, tmp_path: Path) -> None:
    """To the byte, the network's structure with it."""
    model = models.read(name)
    path = tmp_path / model.path.name
    converted, changes = files.convert_model(model, path, model.layers[0].dialect)
    files.write(path, converted)
    assert path.read_bytes() == model.path.read_bytes()
    assert [change.largest for change in changes] == [0.0] * len(model.layers)


def test_options_are_shown_where_they_are_not_the_defaults(tmp_path: Path) -> None:
    """Those alone must be told when the target's network is built."""
    model = models.read("gluon.params")
    _, changes = files.convert_model(model, tmp_path / "t.npz", "flax")
    assert changes[0].options == {"momentum": 0.9}  # eps is 1e-5 in Gluon and in Flax
    assert changes[1].options == {"momentum": 0.9, "epsilon": 1e-4, "use_scale": False}


@pytest.mark.parametrize("value", [True, False])
def test_a_layer_is_converted_as_it_is_deployed(value: bool, tmp_path: Path) -> None:  # noqa: FBT001
    """By its running statistics, also if the network that trains it says the batch's."""
    model = models.read("c046m.caffemodel")
    told = files.with_options(model, [("*", "use_global_stats", value)])
    converted, changes = files.convert_model(told, tmp_path / "t.npz", "torch")
    plain, _ = files.convert_model(model, tmp_path / "t.npz", "torch")
    assert changes[0].largest <= SAME_OUTPUT
    for field, array in plain.layers[0].state.items():
        np.testing.assert_array_equal(converted.layers[0].state[field], array, strict=True)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_narrow_arrays_are_computed_with_as_float32(dtype: str, tmp_path: Path) -> None:
    """Which holds them, and the result."""
    ml_dtypes = pytest.importorskip("ml_dtypes", reason="ml_dtypes is missing; make test has it")
    kind = np.dtype(getattr(ml_dtypes, dtype, dtype))
    state = {name: np.arange(1, 4).astype(kind) for name in ("running_mean", "running_var")}
    layer = files.NormLayer("bn", "torch", state, {"affine": False})
    model = replace(models.read("c046m.caffemodel"), layers=(layer,))
    converted, _ = files.convert_model(model, tmp_path / "t.npz", "caffe")
    assert converted.layers[0].state["variance"].dtype == np.float32
    assert converted.layers[0].state["variance"].tolist() == [1.0, 2.0, 3.0]


def test_a_probe_finds_a_difference(tmp_path: Path) -> None:
    """Ones in place of MXNet's unused gamma change nothing; a gamma that is used would."""
    model = models.read("symbol-0000.params")
    _, changes = files.convert_model(model, tmp_path / "t.npz", "flax")
    assert max(change.largest for change in changes) <= SAME_OUTPUT
    assert "a stored gamma other than 1" in changes[1].losses[0].what


def test_an_output_that_overflows_in_both_is_no_difference(tmp_path: Path) -> None:
    """Of the finite outputs the largest is what differences are measured by."""
    large = np.array([1.0, 2.0**127], np.float32)  # times x_hat, which goes beyond 2
    zero, one = np.zeros(2, np.float32), np.ones(2, np.float32)
    state = {"weight": large, "bias": zero, "running_mean": zero, "running_var": one}
    layer = files.NormLayer("bn", "torch", state)
    model = replace(models.read("c046m.caffemodel"), layers=(layer,))
    _, changes = files.convert_model(model, tmp_path / "t.npz", "torch")
    assert changes[0].largest == 0.0

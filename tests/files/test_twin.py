"""A file of Keras is filled with arrays that came from elsewhere, and is otherwise as it was."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from backnorm.convert import files
from backnorm.errors import ArrayNameError
from files import models

if TYPE_CHECKING:
    from pathlib import Path

KERAS = [name for name in models.SAMPLED if models.FILES[name].format in {"keras", "h5"}]

SETTINGS = [("*", "flatten", False)]


def through_pytorch(name: str, folder: Path) -> tuple[files.ModelFile, files.ModelFile]:
    """A sample as it is, and as it comes back from a state_dict with other names."""
    model = models.read(name)
    dense = any(kernel.kind == "dense" for kernel in model.kernels)
    settings = [*models.FILES[name].options, *(SETTINGS if dense else [])]
    model = files.read(model.path, settings=settings)
    state, _ = files.convert_model(model, folder / "a.npz", "torch", n=9, allow_loss=True)
    files.write(folder / "a.npz", state)
    eps = [(layer.name, "eps", layer.options["eps"]) for layer in state.layers]
    return model, files.read(folder / "a.npz", settings=[*eps, *(SETTINGS if dense else [])])


@pytest.mark.parametrize("name", KERAS)
def test_a_keras_file_is_filled(name: str, tmp_path: Path) -> None:
    """With its own values it is bitwise the same file; with others it holds these."""
    model, state = through_pytorch(name, tmp_path)
    out = tmp_path / f"o{model.path.suffix}"
    converted, _ = files.convert_model(state, out, "keras", n=9, allow_loss=True)
    files.write(out, files.match_names(converted, model).model)
    assert out.read_bytes() == model.path.read_bytes()
    first, *more = converted.layers
    other = {**first.state, "moving_mean": first.state["moving_mean"] + 1}
    changed = replace(converted, layers=(replace(first, state=other), *more))
    files.write(out, files.match_names(changed, model).model)
    got = files.read(out, settings=models.FILES[name].options)
    wanted = [layer.state["moving_mean"] for layer in model.layers]
    np.testing.assert_array_equal(got.layers[0].state["moving_mean"], wanted[0] + 1)


def test_an_eps_that_was_rounded_to_float32_is_no_other_eps(tmp_path: Path) -> None:
    """ONNX and Caffe keep float32, in which 0.001 is 0.0010000000474974513."""
    models.need("keras")
    model, state = through_pytorch("keras.keras", tmp_path)
    rounded = [
        replace(layer, options={**layer.options, "eps": float(np.float32(layer.options["eps"]))})
        for layer in state.layers
    ]
    assert [a.options for a in rounded] != [a.options for a in state.layers]
    state = replace(state, layers=tuple(rounded))
    converted, _ = files.convert_model(state, tmp_path / "o.keras", "keras", n=9, allow_loss=True)
    assert files.match_names(converted, model).model.content is not None


def test_another_eps_of_the_network_is_refused(tmp_path: Path) -> None:
    """The file that is filled keeps it, and would compute something else."""
    models.need("keras")
    model, state = through_pytorch("keras.keras", tmp_path)
    out = tmp_path / "o.keras"
    name = state.layers[0].name
    other = files.with_options(state, [(name, "eps", 0.5)])
    converted, _ = files.convert_model(other, out, "keras", n=9, allow_loss=True)
    with pytest.raises(ArrayNameError, match=r"epsilon must be 0\.5, as in the converted layer"):
        files.match_names(converted, model)

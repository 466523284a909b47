"""Keras's configuration: where its layers are, and what it tells of them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from backnorm.convert import files
from backnorm.convert.files.keras._config import layers_of
from backnorm.errors import FileError
from files import models

if TYPE_CHECKING:
    from pathlib import Path


def entry(kind: str, name: str, **config: Any) -> dict[str, Any]:
    """A layer of a configuration."""
    return {"class_name": kind, "config": {"name": name, **config}}


NORM = entry("BatchNormalization", "n", epsilon=1e-2, momentum=0.9, center=True, scale=False)


def test_layers_are_found_in_models_and_wrappers() -> None:
    """Under the path that Keras 3 gives them: the class's name, numbered within each model."""
    inner = entry("Sequential", "inner", layers=[NORM, NORM])
    config = entry(
        "Functional",
        "f",
        layers=[
            entry("Conv2DTranspose", "c"),
            NORM,
            inner,
            entry("TimeDistributed", "t", layer=NORM),
            NORM,
        ],
    )
    assert [(layer.name, layer.path) for layer in layers_of("m.keras", config)] == [
        ("n", "layers/batch_normalization"),
        ("inner/n", "layers/sequential/layers/batch_normalization"),
        ("inner/n", "layers/sequential/layers/batch_normalization_1"),
        ("t/n", "layers/time_distributed/layer"),
        ("n", "layers/batch_normalization_1"),
    ]


def test_the_options_are_told() -> None:
    """All that a converted layer depends on."""
    (layer,) = layers_of("m.keras", entry("Sequential", "s", layers=[NORM]))
    assert layer.options == {"epsilon": 1e-2, "momentum": 0.9, "center": True, "scale": False}


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (entry("Sequential", "s", layers=[3]), r"config, layers must be objects, got int"),
        (
            entry("Sequential", "s", layers=[entry("BatchNormalization", "n", epsilon="x")]),
            r"layer n, epsilon must be a number or a truth, got 'x'",
        ),
    ],
)
def test_a_wrong_configuration_is_refused(config: dict[str, Any], message: str) -> None:
    """With the layer and the field."""
    with pytest.raises(FileError, match=r"^m\.keras, " + message):
        list(layers_of("m.keras", config))


def test_a_configuration_without_an_end_is_refused() -> None:
    """Models in models in models."""
    config = entry("Sequential", "s")
    for _ in range(100):
        config = entry("Sequential", "s", layers=[config])
    with pytest.raises(FileError, match="nested at most 64 deep"):
        list(layers_of("m.keras", config))


def test_weights_alone_leave_epsilon_open() -> None:
    """The file tells neither epsilon nor momentum."""
    model = models.read("keras.weights.h5")
    assert model.layers[1].name == "layers/batch_normalization_1"
    settings = [("layers/batch_normalization_1", "scale", False)]
    model = files.read(model.path, settings=settings)
    assert [layer.untold for layer in model.layers] == [("epsilon", "momentum")] * 2
    assert "epsilon" not in model.layers[0].options


@pytest.mark.parametrize(
    ("option", "value", "field"),
    [("scale", False, "beta"), ("scale", True, "gamma"), ("center", True, "beta")],
)
def test_the_caller_says_what_a_layer_of_three_arrays_has(
    option: str, value: object, field: str
) -> None:
    """A pattern for all layers decides this one alone: the other has four arrays."""
    models.need("h5")
    path = models.SAMPLES / "keras.weights.h5"
    full, three = files.read(path, settings=[("*", option, value)]).layers
    assert list(full.state) == ["gamma", "beta", "moving_mean", "moving_variance"]
    assert list(three.state) == [field, "moving_mean", "moving_variance"]
    assert three.options == {"scale": field == "gamma", "center": field == "beta"}


def test_a_layer_of_three_arrays_is_not_guessed() -> None:
    """Gamma or beta would give another output."""
    models.need("h5")
    with pytest.raises(
        FileError, match=r"layers/batch_normalization_1, has three arrays|gamma or beta"
    ):
        files.read(models.SAMPLES / "keras.weights.h5")


def test_the_names_of_keras_2_are_known(tmp_path: Path) -> None:
    """Groups twice, ``:0`` behind, and a class that was called otherwise; one is not told of."""
    h5py = pytest.importorskip("h5py", reason="h5py is not installed; make test has it")
    config = entry("Sequential", "s", layers=[entry("BatchNormalizationV1", "bn", epsilon=1e-2)])
    with h5py.File(tmp_path / "m.h5", "w") as file:
        file.attrs["model_config"] = json.dumps(config)
        for name in ("bn", "own"):
            for field in ("gamma", "beta", "moving_mean", "moving_variance"):
                file[f"model_weights/{name}/{name}/{field}:0"] = np.ones(3, np.float32)
    model = files.read(tmp_path / "m.h5")
    layers = {layer.name: layer.options for layer in model.layers}
    assert layers["bn"]["epsilon"] == 1e-2
    assert "epsilon" not in layers["own"]
    untold = {layer.name: layer.untold for layer in model.layers}
    assert untold == {"bn": (), "own": ("epsilon", "momentum")}


def whole_model(path: Path, config: dict[str, Any], *scopes: tuple[str, str]) -> None:
    """Write a model of Keras 2: for each group of a layer the name that its variables have."""
    h5py = pytest.importorskip("h5py", reason="h5py is not installed; make test has it")
    with h5py.File(path, "w") as file:
        file.attrs["model_config"] = json.dumps(config)
        for group, scope in scopes:
            for field in ("gamma", "beta", "moving_mean", "moving_variance"):
                file[f"model_weights/{group}/{scope}/{field}:0"] = np.ones(3, np.float32)


def test_variables_that_keras_2_numbered_are_their_layers(tmp_path: Path) -> None:
    """In a process that had made bn before, the variables of the second bn are bn_1/..."""
    norms = [entry("BatchNormalization", f"bn_{index}", epsilon=10.0**-index) for index in (1, 2)]
    config = entry("Sequential", "s", layers=norms)
    whole_model(tmp_path / "m.h5", config, ("bn_1", "bn_1_1"), ("bn_2", "bn_2_1"))
    model = files.read(tmp_path / "m.h5")
    assert {layer.name: layer.options["epsilon"] for layer in model.layers} == {
        "bn_1": 1e-1,
        "bn_2": 1e-2,
    }
    assert {layer.untold for layer in model.layers} == {()}
    files.write(tmp_path / "same.h5", model)
    assert (tmp_path / "same.h5").read_bytes() == (tmp_path / "m.h5").read_bytes()


def test_a_layer_has_the_options_of_its_group(tmp_path: Path) -> None:
    """Not those of the layer that has the name of its variables."""
    norms = [entry("BatchNormalization", f"bn_{index}", epsilon=10.0**-index) for index in (1, 2)]
    config = entry("Sequential", "s", layers=norms)
    whole_model(tmp_path / "m.h5", config, ("bn_1", "bn_2"), ("bn_2", "bn_3"))
    model = files.read(tmp_path / "m.h5")
    assert {layer.name: layer.options["epsilon"] for layer in model.layers} == {
        "bn_1/bn_2": 1e-1,
        "bn_2/bn_3": 1e-2,
    }


def test_layers_in_a_group_keep_their_names(tmp_path: Path) -> None:
    """A model in a model is a group with several layers, whose names may look numbered."""
    norms = [entry("BatchNormalization", f"m_{index}", epsilon=10.0**-index) for index in (1, 2)]
    inner = entry("Sequential", "m", layers=norms)
    config = entry("Sequential", "s", layers=[inner])
    whole_model(tmp_path / "m.h5", config, ("m", "m_1"), ("m", "m_2"))
    assert {layer.name for layer in files.read(tmp_path / "m.h5").layers} == {"m/m_1", "m/m_2"}

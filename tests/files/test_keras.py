"""Keras's configuration: where its layers are, and what it tells of them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from backnorm.convert import files
from backnorm.convert.files._keras_config import layers_of
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
    """And a layer of three arrays is left alone: nothing tells which the third is."""
    models.need("h5")
    model = files.read(models.SAMPLES / "keras.weights.h5")
    assert [layer.name for layer in model.layers] == ["layers/batch_normalization"]
    assert "epsilon" not in model.layers[0].options
    assert model.notes == (
        "weights alone do not tell epsilon: Keras's default is taken for granted",
        "layers/batch_normalization_1 has 3 arrays: gamma or beta? It is left alone",
    )
    assert "layers/batch_normalization_1/vars/0" in model.others


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
    assert model.notes == ("own is not in model_config: the default of epsilon is assumed",)

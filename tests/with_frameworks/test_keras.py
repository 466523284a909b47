"""The dialect keras beside the installed Keras 3, on its torch backend."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="PyTorch is not installed; make test-frameworks has it")
os.environ["KERAS_BACKEND"] = "torch"
keras = pytest.importorskip("keras", reason="Keras is not installed; make test-frameworks has it")

import torch  # noqa: E402

import backnorm as bn  # noqa: E402
from backnorm.testing.budget import FRAMEWORK_PARTS, parts  # noqa: E402
from with_frameworks.steps import C, assert_same_steps  # noqa: E402

OPTIONS: dict[str, dict[str, Any]] = {
    "defaults": {},
    "epsilon and momentum": {"epsilon": 1e-5, "momentum": 0.7},
    "no scale": {"scale": False},
    "no center": {"center": False},
    "neither": {"scale": False, "center": False},
    "not trainable": {"trainable": False},
}


class Keras:
    """Keras' layer, stepped by PyTorch's autograd."""

    def __init__(self, shape: tuple[int, ...], dtype: str, options: dict[str, Any]) -> None:
        self.layer = keras.layers.BatchNormalization(dtype=dtype, **options)
        self.layer.build(shape)
        rng = np.random.default_rng(1)
        for variable in self.layer.weights:
            variable.assign(rng.uniform(0.5, 2, variable.shape))

    def state(self) -> dict[str, Any]:
        """Give its weights by their names."""
        return {w.name: w.value.detach().cpu().numpy().copy() for w in self.layer.weights}

    def step(self, x: Any, dy: Any, *, training: bool) -> dict[str, Any]:
        """Run forward and backward."""
        tensor = torch.from_numpy(x).requires_grad_()
        y = self.layer(tensor, training=training)
        trained = [w for w in (self.layer.gamma, self.layer.beta) if w is not None]
        values = [tensor, *(w.value for w in trained)]
        for value in values:
            value.requires_grad_(requires_grad=True)
        found = torch.autograd.grad(y, values, torch.from_numpy(dy), allow_unused=True)
        names = ["dx", *(f"d{w.name}" for w in trained)]
        result = {name: g.numpy() for name, g in zip(names, found, strict=True) if g is not None}
        return {"y": y.detach().numpy(), **result}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", [(16, C), (4, 6, 5, C), (2, C, 3, 4)])
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_three_steps_are_those_of_keras(
    options: dict[str, Any], shape: tuple[int, ...], dtype: str
) -> None:
    """Three in training, then one in eval, channels last or at axis 1.

    With float64 too Keras computes in float32: it casts x to what float64 and float32 have in
    common, which to Keras is float32.
    """
    axis = -1 if shape[-1] == C else 1
    theirs = Keras(shape, dtype, {"axis": axis, **options})
    layer = bn.BatchNorm(C, dialect="keras", axis=axis, **options).load_state(theirs.state())
    if options.get("trainable") is False:
        theirs.layer.trainable = False
    assert_same_steps(layer, theirs, shape, dtype, computes_in="float32")


def test_the_defaults_are_those_of_keras() -> None:
    """Every option that both know."""
    config = keras.layers.BatchNormalization().get_config()
    ours = bn.BatchNorm(C, dialect="keras").options
    assert {name: config[name] for name in ours} == ours


def test_a_converted_state_gives_the_same_in_keras() -> None:
    """PyTorch's dialect, converted and run by Keras itself."""
    rng = np.random.default_rng(4)
    layer = bn.BatchNorm(C, dialect="torch")
    for _ in range(3):
        layer.forward(rng.normal(1, 2, (8, C)).astype("f4"))
    done = bn.convert_state(layer.state(), "torch", "keras", n=8)
    theirs = keras.layers.BatchNormalization(**done.options)
    theirs.build((8, C))
    theirs.set_weights([done.state[weight.name] for weight in theirs.weights])
    x = rng.normal(size=(6, C)).astype("f4")
    y = theirs(torch.from_numpy(x), training=False).detach().numpy()
    assert parts(layer.eval().forward(x), y) <= FRAMEWORK_PARTS["float32"]

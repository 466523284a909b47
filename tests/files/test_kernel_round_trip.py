"""Square kernels, whose shape tells no order, from each kind of file to each other and back."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pytest

from backnorm.convert import files
from files import models

if TYPE_CHECKING:
    from pathlib import Path

C = 4


class Kind(NamedTuple):
    """A format, and a dialect that it can hold."""

    format: str
    dialect: str


KINDS = [
    *(Kind("npz", name) for name in ("torch", "keras", "flax", "mxnet", "caffe", "onnx-15")),
    Kind("torch", "torch"),
    Kind("safetensors", "torch"),
    Kind("h5", "keras"),
    Kind("msgpack", "flax"),
    Kind("onnx", "onnx-15"),
    Kind("caffemodel", "caffe"),
    Kind("mxnet", "mxnet"),
]

VECTORS = [("*", "flatten", False)]
"""No dense layer reads a flattened map."""


def pytorchs(path: Path) -> files.ModelFile:
    """A network whose kernels are all square."""
    rng = np.random.default_rng(16)
    shapes = {
        "stem.weight": (C, C, 2, 2),
        "stem.bias": (C,),
        "plain.weight": (C, C, 3),
        "ConvTranspose_0.weight": (C, C, 2, 2),
        "one.weight": (1, C, 2, 2),
        "fc.weight": (C, C),
        "fc.bias": (C,),
    }
    norm = {f"bn.{field}": rng.random(C, np.float32) for field in ("running_mean", "running_var")}
    np.savez(
        path, **norm, **{name: rng.random(shape, np.float32) for name, shape in shapes.items()}
    )
    return files.read(path, settings=VECTORS)


def as_a(kind: Kind, model: files.ModelFile, path: Path) -> files.ModelFile:
    """Convert, write and read again."""
    converted, _ = files.convert_model(
        model, path, kind.dialect, format=kind.format, n=9, allow_loss=True
    )
    files.write(path, converted)
    return files.read(path, format=kind.format, settings=VECTORS)


@pytest.mark.parametrize("first", KINDS, ids="-".join)
def test_square_kernels_come_back(first: Kind, tmp_path: Path) -> None:
    """From every kind of file to every other, with their names, bitwise identical."""
    models.need_new(first.format)
    start = as_a(first, pytorchs(tmp_path / "s.npz"), tmp_path / "a")
    assert sum(kernel.weight in start.others for kernel in start.kernels) == 5
    for second in KINDS:
        if not models.makes(second.format):
            continue
        back = as_a(first, as_a(second, start, tmp_path / "b"), tmp_path / "c")
        assert back.others.keys() == start.others.keys(), second
        for name, array in start.others.items():
            np.testing.assert_array_equal(back.others[name], array, str(second), strict=True)

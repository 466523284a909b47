"""The model files of these tests, each with what the framework that wrote it computed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pytest

from backnorm.convert import files
from backnorm.convert.files.registry import FORMATS

if TYPE_CHECKING:
    from backnorm.convert.files import ModelFile

SAMPLES = Path(__file__).parent / "samples"
GOLDENS = Path(__file__).parents[1] / "dialects" / "goldens"


class Recorded(NamedTuple):
    """A file, what its framework computed, and what the file does not tell."""

    path: Path
    format: str
    arrays: Path
    x: str
    y: str
    settings: tuple[tuple[str, str, float], ...] = ()


def _sample(name: str, framework: str, format_: str, *settings: tuple[str, str, float]) -> Recorded:
    return Recorded(SAMPLES / name, format_, SAMPLES / "recorded.npz", "x", framework, settings)


def _caffe(name: str, step: int) -> Recorded:
    folder = GOLDENS / "caffe"
    x, y = f"step{step}_x", f"step{step}_y"
    return Recorded(folder / f"{name}.caffemodel", "caffemodel", folder / f"{name}.npz", x, y)


def _mxnet(name: str, arrays: str, *settings: tuple[str, str, float]) -> Recorded:
    folder = GOLDENS / "mxnet_params"
    return Recorded(folder / name, "mxnet", folder / arrays, "x", "y", settings)


RECORDED = {
    "c046m.caffemodel": _caffe("c046m", 4),
    "c047m.caffemodel": _caffe("c047m", 5),
    "c048m.caffemodel": _caffe("c048m", 6),
    "symbol.params": _mxnet("symbol-0000.params", "symbol_io.npz"),
    "gluon.params": _mxnet(
        "gluon.params", "gluon_io.npz", ("2", "eps", 1e-4), ("2", "fix_gamma", True)
    ),
    "torch.pt": _sample("torch.pt", "torch", "torch", ("0", "eps", 1e-3)),
    "torch_checkpoint.pt": _sample("torch_checkpoint.pt", "torch", "torch", ("0", "eps", 1e-3)),
    "torch.safetensors": _sample("torch.safetensors", "torch", "safetensors", ("0", "eps", 1e-3)),
    "keras.keras": _sample("keras.keras", "keras", "keras"),
    "keras.h5": _sample("keras.h5", "keras", "h5"),
    "flax.msgpack": _sample("flax.msgpack", "flax", "msgpack", ("BatchNorm_0", "epsilon", 1e-4)),
    "onnx.onnx": _sample("onnx.onnx", "onnx", "onnx"),
}
"""Files that a framework wrote, by name."""


def need(format_: str) -> None:
    """Skip where the library of a format is not there."""
    if FORMATS[format_].library:
        pytest.importorskip(
            FORMATS[format_].library,
            reason=f"{FORMATS[format_].library} is not installed; make test has it",
        )


def read(name: str) -> ModelFile:
    """Read a recorded file, in the order of its network."""
    case = RECORDED[name]
    need(case.format)
    model = files.with_options(files.read(case.path), case.settings)
    if case.format == "h5":  # in the order of the groups, which is that of the alphabet backwards
        model = files.ModelFile(**{**_fields(model), "layers": _by_gamma(model)})
    return model


def _fields(model: ModelFile) -> dict[str, object]:
    return {name: getattr(model, name) for name in model.__dataclass_fields__}


def _by_gamma(model: ModelFile) -> tuple[files.NormLayer, ...]:
    return tuple(sorted(model.layers, key=lambda layer: "gamma" not in layer.state))


def arrays(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the recorded input and output."""
    case = RECORDED[name]
    with np.load(case.arrays) as stored:
        return stored[case.x], stored[case.y]

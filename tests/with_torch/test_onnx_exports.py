"""Models as PyTorch's exporters write them: each normalization is found, with its own law."""

from __future__ import annotations

import io
import warnings
from typing import TYPE_CHECKING, Any

import pytest

from audit.test_onnx import audited, codes

torch = pytest.importorskip("torch", reason="torch is not installed; make test has it")
onnx = pytest.importorskip("onnx", reason="onnx is not installed; make test has it")
pytest.importorskip("onnxscript", reason="onnxscript is not installed; make test has it")

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

nn = torch.nn


class T5Norm(nn.Module):  # type: ignore[name-defined,misc]
    """RMS normalization as T5 has it."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.linspace(0.5, 1.5, 6))

    def forward(self, x: Any) -> Any:
        """Return y."""
        return self.weight * (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6))


class Unbiased(nn.Module):  # type: ignore[name-defined,misc]
    """Layer normalization by std(), which divides by n - 1."""

    def forward(self, x: Any) -> Any:
        """Return y."""
        return (x - x.mean(-1, keepdim=True)) / (x.std(-1, keepdim=True) + 1e-6)


class ChannelsFirst(nn.Module):  # type: ignore[name-defined,misc]
    """Layer normalization over axis 1, as ConvNeXt has it."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.linspace(0.5, 1.5, 6))
        self.bias = nn.Parameter(torch.linspace(-1, 1, 6))

    def forward(self, x: Any) -> Any:
        """Return y."""
        mean = x.mean(1, keepdim=True)
        var = (x - mean).pow(2).mean(1, keepdim=True)
        x_hat = (x - mean) / torch.sqrt(var + 1e-6)
        return self.weight[:, None, None] * x_hat + self.bias[:, None, None]


def trained() -> Any:
    """Return a batch normalization in evaluation, after a batch."""
    layer = nn.BatchNorm2d(6, eps=1e-3)
    layer(torch.randn(8, 6, 4, 3) + 1)
    return layer.eval()


INSIDE = "biased variance, eps {} inside the root"

LAYERS: dict[str, tuple[Callable[[], Any], bool, str, str, list[str]]] = {
    "batch": (trained, True, "batch", "constant statistics", []),
    "layer": (lambda: nn.LayerNorm(6), False, "layer", INSIDE.format("1e-05"), []),
    "group": (lambda: nn.GroupNorm(2, 6), True, "group", INSIDE.format("1e-05"), []),
    "instance": (lambda: nn.InstanceNorm2d(6), True, "instance", INSIDE.format("1e-05"), []),
    "rms": (T5Norm, False, "rms", "mean square, eps 1e-06 inside the root", []),
    "channels first": (ChannelsFirst, True, "layer", INSIDE.format("1e-06"), []),
    "n - 1": (Unbiased, False, "layer", "unbiased variance, eps 1e-06 outside the root", ["L02"]),
}


def exported(layer: Any, x: Any, *, dynamo: bool, opset: int) -> Any:
    """Return the model that an exporter of PyTorch writes."""
    keep = torch.onnx.TrainingMode.PRESERVE
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if dynamo:
            program = torch.onnx.export(
                layer, (x,), dynamo=True, opset_version=opset, verbose=False
            )
            return program.model_proto
        file = io.BytesIO()
        torch.onnx.export(layer, (x,), file, dynamo=False, opset_version=opset, training=keep)
    return onnx.load_model_from_string(file.getvalue())


@pytest.mark.parametrize("exporter", [("old", 11), ("old", 17), ("dynamo", 18)])
@pytest.mark.parametrize("name", LAYERS)
def test_an_exported_layer_keeps_its_law(
    tmp_path: Path, name: str, exporter: tuple[str, int]
) -> None:
    """Old exporters write chains of nodes, new ones operators; the law is that of the layer."""
    make, images, kind, law, expected = LAYERS[name]
    torch.manual_seed(0)
    x = torch.randn(2, 6, 4, 3) if images else torch.randn(2, 5, 6)
    path = tmp_path / "m.onnx"
    onnx.save(exported(make(), x, dynamo=exporter[0] == "dynamo", opset=exporter[1]), path)
    (record,) = audited(str(path))
    assert (record.kind, record.law, codes(record)) == (kind, law, expected)


@pytest.mark.parametrize("opset", [11, 17])
def test_an_exported_training_layer_tells_its_momentum(tmp_path: Path, opset: int) -> None:
    """PyTorch's momentum of 0.3 is a weight of 0.7 of the old value; ONNX's variance is biased."""
    layer, path = nn.BatchNorm2d(6, momentum=0.3), tmp_path / "m.onnx"
    onnx.save(exported(layer, torch.randn(2, 6, 4, 3), dynamo=False, opset=opset), path)
    (record,) = audited(str(path))
    assert record.mode == "batch"
    assert "running_mean = 0.7*running_mean + 0.3*mean" in record.state
    assert "running_var = 0.7*running_var + 0.3*biased variance" in record.state
    assert codes(record) == []

"""Networks whose norms were folded compute what they computed before: ONNX files and states."""

from __future__ import annotations

from copy import deepcopy
from typing import TYPE_CHECKING

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
from torch import nn  # noqa: E402

from backnorm.convert import files  # noqa: E402
from with_torch.architectures import catalog  # noqa: E402
from with_torch.architectures.comparison import difference, images  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

pytestmark = [
    pytest.mark.skipif(
        not catalog.installed(), reason="torchvision or timm is missing; make test-architectures"
    ),
    # PyTorch's exporters say so of themselves, and of one another.
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
]

FOLDED = {
    "torchvision resnet18": 20,
    "torchvision mobilenet_v2": 52,
    "torchvision vgg11_bn": 8,
    "torchvision shufflenet_v2_x0_5": 56,
    "torchvision densenet121": 59,
}
"""How many norms follow a convolution. 62 others of DenseNet follow a concatenation or a pool."""

STATES = tuple(FOLDED)[:4]

LARGE = "torchvision vgg11_bn"
"""Has 0.5 GB of parameters."""


def some(names: Iterable[str]) -> list[object]:
    """Leave the largest network to `make test-all` and its like."""
    return [
        pytest.param(name, marks=pytest.mark.thorough) if name == LARGE else name for name in names
    ]


TOLERANCE = {torch.float32: 2e-5, torch.float64: 1e-12}
"""Relative to the largest output: the rounding of some fifty layers."""


def network(name: str, dtype: torch.dtype) -> nn.Module:
    """A model in eval whose norms have random parameters and statistics."""
    torch.manual_seed(16)
    return with_random_norms(catalog.model(name).to(dtype))


def with_random_norms(model: nn.Module) -> nn.Module:
    """Draw the parameters and the statistics of all norms."""
    for layer in model.modules():
        if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
            layer.running_mean.normal_(0.0, 0.3)
            layer.running_var.uniform_(0.5, 2.0)
            nn.init.uniform_(layer.weight, 0.5, 1.5)
            nn.init.normal_(layer.bias, 0.0, 0.3)
    return model.eval()


def without_norms(model: nn.Module) -> nn.Module:
    """The same network with a bias in each convolution, no norms, and zeros as parameters."""
    twin = deepcopy(model)
    for layer in list(twin.modules()):
        for name, child in layer.named_children():
            if isinstance(child, nn.BatchNorm2d):
                setattr(layer, name, nn.Identity())
            elif isinstance(child, nn.Conv2d):
                child.bias = nn.Parameter(torch.zeros_like(child.weight[:, 0, 0, 0]))
    with torch.no_grad():
        for parameter in twin.parameters():
            parameter.zero_()
    return twin


class Transposed(nn.Sequential):
    """A transposed convolution with groups, and a dense layer."""

    def __init__(self) -> None:
        super().__init__(
            *(nn.ConvTranspose2d(6, 4, 3, 2, groups=2, bias=False), nn.BatchNorm2d(4), nn.ReLU()),
            *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 5), nn.BatchNorm1d(5)),
        )


def differences(model: nn.Module, x: torch.Tensor, folder: Path) -> tuple[int, int, float]:
    """Export, fold and run: how many norms were folded, how many left, how far outputs are apart.

    PyTorch's older exporter keeps the norms if it is told so; the newer one folds them itself, and
    without its optimizer computes each bias in the network.
    """
    runtime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    file, kept = folder / "a.onnx", torch.onnx.TrainingMode.PRESERVE
    torch.onnx.export(model, (x,), file, dynamo=False, training=kept, do_constant_folding=False)
    folded, folds = files.fold_model(files.read(file), folder / "b.onnx")
    files.write(folder / "b.onnx", folded)
    outputs = []
    for path in (file, folder / "b.onnx"):
        session = runtime.InferenceSession(path)
        (y,) = session.run(None, {session.get_inputs()[0].name: x.numpy()})
        outputs.append(torch.from_numpy(y))
    done = sum(bool(fold.into) for fold in folds)
    assert len(folded.layers) == len(folds) - done
    return done, len(folded.layers), difference(*outputs)


@pytest.mark.parametrize("name", some(FOLDED))
def test_onnxruntime_computes_the_same_with_and_without(name: str, tmp_path: Path) -> None:
    """Each norm after a convolution is folded, and no other."""
    side = 224 if name == LARGE else 64
    x = images(9, torch.float32, side)
    done, left, apart = differences(network(name, torch.float32), x, tmp_path)
    assert (done, left) == (FOLDED[name], 62 if name.endswith("densenet121") else 0)
    assert apart < TOLERANCE[torch.float32]


def test_onnxruntime_computes_the_same_of_transposed_and_dense_layers(tmp_path: Path) -> None:
    """Which the catalog's networks lack before a norm."""
    torch.manual_seed(16)
    model, x = with_random_norms(Transposed()), torch.randn(3, 6, 5, 5)
    done, left, apart = differences(model, x, tmp_path)
    assert (done, left) == (2, 0)
    assert apart < TOLERANCE[torch.float32]


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
@pytest.mark.parametrize("name", some(STATES))
def test_a_twin_without_norms_loads_the_folded_state(
    name: str, suffix: str, dtype: torch.dtype, tmp_path: Path
) -> None:
    """By load_state_dict(strict=True); each convolution of these networks has a norm."""
    if suffix == ".safetensors":
        pytest.importorskip("safetensors", reason="safetensors is not installed")
    model = network(name, dtype)
    twin = without_norms(model)
    torch.save(model.state_dict(), tmp_path / "a.pt")
    torch.save(twin.state_dict(), tmp_path / "t.pt")
    if suffix == ".safetensors":
        plain = files.read(tmp_path / "a.pt")
        converted, _ = files.convert_model(plain, tmp_path / "a.safetensors", "torch")
        files.write(tmp_path / "a.safetensors", converted)
    like = files.read(tmp_path / "t.pt")
    folded, folds = files.fold_model(
        files.read(tmp_path / f"a{suffix}"), tmp_path / "b.pt", like=like
    )
    files.write(tmp_path / "b.pt", folded)
    assert all(fold.into for fold in folds)
    twin.load_state_dict(torch.load(tmp_path / "b.pt", weights_only=True), strict=True)
    x = images(9, dtype)
    with torch.no_grad():
        assert difference(model(x), twin(x)) < TOLERANCE[dtype]

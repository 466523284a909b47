"""Whole models of timm and transformers: layers are judged, and cut statistics found in each."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

from torch import nn  # noqa: E402

from backnorm.torch import audit_model  # noqa: E402
from with_torch.architectures import catalog  # noqa: E402

if TYPE_CHECKING:
    from backnorm.audit.record import Record

pytestmark = [
    pytest.mark.skipif(
        not catalog.installed(), reason="torchvision or timm is missing; make test-architectures"
    ),
    # The libraries warn of what PyTorch will remove.
    pytest.mark.filterwarnings("ignore::Warning"),
]

LAYERS = {
    "timm efficientnet_b0": 49,
    "timm mobilenetv3_small_100": 34,
    "timm regnety_002": 44,
    "timm levit_128s": 52,
    "transformers levit": 64,
}
"""How many layers normalize in each; activations within: silu, hardswish, relu; none."""


def made(name: str) -> nn.Module:
    """Return a model with random weights, in float32; the same each time."""
    if not name.startswith("transformers"):
        return catalog.model(name).float()
    catalog.make_torchvision_importable()  # transformers imports it
    missing = "transformers is missing; make test-architectures"
    transformers = pytest.importorskip("transformers", reason=missing)
    torch.manual_seed(0)
    settings = transformers.LevitConfig(num_labels=10)
    network: nn.Module = transformers.LevitForImageClassificationWithTeacher(settings)
    return network.train()


def audited(name: str, model: nn.Module) -> tuple[Record, ...]:
    """Audit a model on eight images, or three of the size that it takes."""
    fixed = name.partition(" ")[2].startswith(catalog.FIXED)
    shape = (3, 3, 224, 224) if fixed else (8, 3, 64, 64)
    x = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    return audit_model(model, x, drawn=True)


CUTS = {"variance": ("mean",), "mean": ("variance",), "none": ("mean", "variance")}
"""What is cut, by the path that is left."""


def cut(layer: nn.Module, statistics: tuple[str, ...]) -> None:
    """Cut statistics of a batch normalization from the graph; keep its activation."""

    def forward(self: nn.Module, x: torch.Tensor) -> torch.Tensor:
        """Return y."""
        axes, shape = (0, *range(2, x.dim())), (1, -1, *[1] * (x.dim() - 2))
        mean, var = x.mean(axes), x.var(axes, correction=0)
        with torch.no_grad():
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(var, self.momentum)
        mean = mean.detach() if "mean" in statistics else mean
        var = var.detach() if "variance" in statistics else var
        x_hat = (x - mean.view(shape)) * torch.rsqrt(var + self.eps).view(shape)
        y = x_hat * self.weight.view(shape) + self.bias.view(shape)
        return self.act(self.drop(y)) if hasattr(self, "act") else y

    layer.__class__ = type("Cut", (type(layer),), {"forward": forward})


@pytest.mark.parametrize("name", LAYERS)
def test_every_layer_of_a_model_is_judged(name: str) -> None:
    """All are sound, with no findings but notes: some models start with zeros."""
    records = audited(name, made(name))
    assert len(records) == LAYERS[name]
    for record in records:
        assert (record.clean, record.mode, record.through) == (True, "batch", "both"), record


@pytest.mark.parametrize("first", [0, 1])
@pytest.mark.parametrize("name", LAYERS)
def test_statistics_that_are_cut_are_found_in_every_layer(name: str, first: int) -> None:
    """The mean, the variance or both in every other layer: these are unsound, and no others."""
    model = made(name)
    norms = [n for n, m in model.named_modules() if isinstance(m, nn.BatchNorm2d | nn.BatchNorm1d)]
    chosen = dict(zip(norms[first::2], itertools.cycle(CUTS), strict=False))
    for layer, left in chosen.items():
        cut(model.get_submodule(layer), CUTS[left])
    records = {record.target.partition(" ")[2]: record for record in audited(name, model)}
    assert {n for n, record in records.items() if record.sound is not True} == set(chosen)
    for layer, left in chosen.items():
        record = records[layer]
        assert (record.sound, record.through) == (False, left), record
        assert "M04" in {finding.code for finding in record.findings}, record

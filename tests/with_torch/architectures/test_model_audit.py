"""Whole models of timm and transformers: layers are judged, and cut statistics found in each."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

from torch import nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402, N812 - its usual name

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


def cut(layer: nn.Module) -> None:
    """Cut both statistics of a batch normalization from the graph; keep its activation."""

    def forward(self: nn.Module, x: torch.Tensor) -> torch.Tensor:
        """Return y."""
        axes = (0, *range(2, x.dim()))
        mean, var = x.mean(axes).detach(), x.var(axes, correction=0).detach()
        with torch.no_grad():
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(var, self.momentum)
        y = F.batch_norm(x, mean, var, self.weight, self.bias, eps=self.eps)
        return self.act(self.drop(y)) if hasattr(self, "act") else y

    layer.__class__ = type("Cut", (type(layer),), {"forward": forward})


def some_of_each_kind(model: nn.Module) -> list[str]:
    """Name the first, the middle and the last layer of each class with the same activation."""
    kinds: dict[tuple[type, ...], list[str]] = {}
    for name, layer in model.named_modules():
        if isinstance(layer, nn.BatchNorm2d | nn.BatchNorm1d):
            kind = (type(layer), type(getattr(layer, "act", None)))
            kinds.setdefault(kind, []).append(name)
    chosen = {n for names in kinds.values() for n in (names[0], names[len(names) // 2], names[-1])}
    return sorted(chosen)


@pytest.mark.parametrize("name", LAYERS)
def test_every_layer_of_a_model_is_judged(name: str) -> None:
    """All are sound, with no findings but notes: some models start with zeros."""
    records = audited(name, made(name))
    assert len(records) == LAYERS[name]
    for record in records:
        assert (record.clean, record.mode, record.through) == (True, "batch", "both"), record


@pytest.mark.parametrize("name", LAYERS)
def test_statistics_that_are_cut_are_found_in_each_kind_of_layer(name: str) -> None:
    """These layers are unsound, and no others."""
    model = made(name)
    chosen = some_of_each_kind(model)
    for layer in chosen:
        cut(model.get_submodule(layer))
    records = {record.target.partition(" ")[2]: record for record in audited(name, model)}
    assert sorted(n for n, record in records.items() if record.sound is not True) == chosen
    for layer in chosen:
        record = records[layer]
        assert "M04" in {finding.code for finding in record.findings}, record
        shares = record.coefficients
        assert shares.direct == pytest.approx(1, abs=1e-3)
        # A path that is too small in this place has no share: dy may have hardly any mean.
        assert not any(s and abs(s) > 1e-3 for s in (shares.mean, shares.variance)), record
        assert record.sound is False

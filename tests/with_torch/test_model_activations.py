"""A normalization and an activation in one layer: judged through the activation."""

from __future__ import annotations

import functools

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

from torch import nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402, N812 - its usual name

from backnorm.torch import audit_model  # noqa: E402


class Fused(nn.BatchNorm2d):
    """Batch normalization and an activation; its statistics may be cut from the graph."""

    def __init__(self, activation: object, *, cut: bool = False) -> None:
        """Make its parts."""
        super().__init__(4)
        self.activation, self.cut = activation, cut
        with torch.no_grad():
            self.weight.copy_(torch.tensor([1.0, -0.7, 4.0, 0.5]))
            self.bias.copy_(torch.tensor([0.0, 0.3, -0.5, 0.2]))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return y."""
        u = super().forward(x)
        if self.cut:
            mean, var = x.mean((0, 2, 3)).detach(), x.var((0, 2, 3), correction=0).detach()
            u = F.batch_norm(x, mean, var, self.weight, self.bias, training=False, eps=self.eps)
        return self.activation(u)


class FusedLayer(nn.LayerNorm):
    """Layer normalization, whose gamma differs within a row, and an activation."""

    def __init__(self, activation: object, *, cut: bool = False) -> None:
        """Make its parts."""
        super().__init__(7)
        self.activation, self.cut = activation, cut
        with torch.no_grad():
            self.weight.copy_(torch.linspace(0.5, 2.0, 7))
            self.bias.copy_(torch.linspace(-0.3, 0.3, 7))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return y."""
        u = super().forward(x)
        if self.cut:
            mean, std = (
                x.mean(-1, keepdim=True),
                x.var(-1, correction=0, keepdim=True).add(self.eps),
            )
            u = (x - mean.detach()) / std.sqrt().detach() * self.weight + self.bias
        return self.activation(u)


def squared_relu(u: torch.Tensor) -> torch.Tensor:
    """Not a function of torch."""
    return F.relu(u) ** 2


ACTIVATIONS = {
    name: getattr(F, name)
    for name in (
        *("relu", "relu6", "silu", "gelu", "hardswish", "mish", "selu", "softplus"),
        *("tanh", "sigmoid", "hardtanh", "hardsigmoid", "logsigmoid", "softsign"),
    )
}
ACTIVATIONS |= {
    "leaky_relu (0.01)": F.leaky_relu,
    "leaky_relu (0.3)": functools.partial(F.leaky_relu, negative_slope=0.3),
    "elu (1)": F.elu,
    "elu (0.5)": functools.partial(F.elu, alpha=0.5),
    "gelu (tanh)": functools.partial(F.gelu, approximate="tanh"),
    "gelu (sigmoid)": lambda u: u * torch.sigmoid(1.702 * u),
    "squared relu": squared_relu,
    "clamp (-0.5, 1.25)": lambda u: u.clamp(-0.5, 1.25),
    "clamp (-2, 1.5)": nn.Hardtanh(-2.0, 1.5),
    # Parts of the layer that no table has, with a parameter for each channel or in place.
    "Softplus": nn.Softplus(2.0),
    "CELU": nn.CELU(2.0),
    "Threshold": nn.Threshold(0.5, 0.0, inplace=True),
    "PReLU": nn.PReLU(4),
}


def model(layer: nn.Module) -> nn.Module:
    """Put the layer between two others."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), layer, nn.Conv2d(4, 4, 1))


def x() -> torch.Tensor:
    """Eight images, whose mean is not 0."""
    return 0.5 + torch.randn(8, 3, 9, 9, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_a_layer_is_judged_through_its_activation(name: str) -> None:
    """Sound as it is; with statistics that are cut, only the direct path is left."""
    activation = ACTIVATIONS[name]
    if isinstance(activation, nn.PReLU):
        with torch.no_grad():
            activation.weight.copy_(torch.tensor([0.1, 0.3, 0.2, 0.4]))
    (sound,) = audit_model(model(Fused(activation)), x())
    assert (sound.sound, sound.mode, sound.through) == (True, "batch", "both"), sound
    assert sound.law.endswith(f", then {name}")
    (cut,) = audit_model(model(Fused(activation, cut=True)), x())
    assert (cut.sound, cut.mode, cut.through) == (False, "batch", "none"), cut
    assert [f.code for f in cut.findings] == ["M04"]


@pytest.mark.parametrize("name", ["relu", "relu6", "silu", "hardsigmoid", "tanh", "PReLU"])
def test_constants_are_told_behind_an_activation(name: str) -> None:
    """In evaluation, with statistics that were updated."""
    made = model(Fused(ACTIVATIONS[name]))
    for _ in range(30):
        made(x())
    (record,) = audit_model(made.eval(), x())
    assert (record.sound, record.mode, record.through, record.findings) == (
        True,
        "frozen",
        "none",
        (),
    )


@pytest.mark.parametrize("name", ["relu", "silu", "gelu", "tanh"])
def test_gamma_may_differ_within_a_row(name: str) -> None:
    """Layer normalization and an activation."""
    records = [
        audit_model(model(FusedLayer(ACTIVATIONS[name], cut=cut)), x())[0] for cut in (False, True)
    ]
    assert [(r.sound, r.through) for r in records] == [(True, "both"), (False, "none")]


def test_what_is_not_an_activation_is_not_judged() -> None:
    """A sine takes each value again and again, so that u does not follow from y."""
    (record,) = audit_model(model(Fused(torch.sin, cut=True)), x())
    assert record.sound is None
    assert record.not_judged.startswith("y is not a linear function of x in each row, nor a known")


def test_a_part_that_normalizes_is_not_taken_for_an_activation() -> None:
    """A second normalization would explain every y, and hide what the first one cuts."""
    (record,) = audit_model(model(Fused(nn.InstanceNorm2d(4), cut=True)), x())[:1]
    assert record.sound is not True


def test_clipped_channels_are_left_out() -> None:
    """The other channels are judged."""
    layer = Fused(F.relu, cut=True)
    with torch.no_grad():
        layer.bias[:3] = -100.0
    (record,) = audit_model(model(layer), x())
    assert (record.sound, record.through) == (False, "none")

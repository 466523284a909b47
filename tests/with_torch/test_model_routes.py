"""Layers whose x gets gradient by another route than y: dx of y alone is judged."""

from __future__ import annotations

from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

from torch import nn  # noqa: E402
from torch.utils.checkpoint import checkpoint  # noqa: E402

from backnorm.torch import audit_model  # noqa: E402


class PlainNorm(nn.Module):
    """A layer normalization; `cut` detaches the statistics that y is made of."""

    def __init__(self, *, cut: bool) -> None:
        """Make its parameters."""
        super().__init__()
        self.cut = cut
        self.weight = nn.Parameter(torch.linspace(0.5, 1.5, 8))
        self.bias = nn.Parameter(torch.zeros(8))

    def forward(self, x: torch.Tensor) -> Any:
        """Return y."""
        self.mean = x.mean(-1, keepdim=True)
        self.std = (x.var(-1, keepdim=True, correction=0) + 1e-5).sqrt()
        mean, std = self.mean, self.std
        if self.cut:
            mean, std = mean.detach(), std.detach()
        return (x - mean) / std * self.weight + self.bias


class WithResidual(PlainNorm):
    """Returns x too."""

    def forward(self, x: torch.Tensor) -> Any:
        """Return both."""
        return super().forward(x), x


class WithMean(PlainNorm):
    """Returns the mean too."""

    def forward(self, x: torch.Tensor) -> Any:
        """Return both."""
        return super().forward(x), self.mean


class Model(nn.Module):
    """A linear layer, a normalization, a linear layer."""

    def __init__(self, norm: PlainNorm) -> None:
        """Make its parts."""
        super().__init__()
        torch.manual_seed(0)
        self.first, self.norm, self.last = nn.Linear(5, 8), norm, nn.Linear(8, 8)

    def forward(self, x: torch.Tensor) -> Any:
        """Return the output."""
        return self.last(self.norm(self.first(x)))


class Paired(Model):
    """Uses the second output of the layer."""

    def forward(self, x: torch.Tensor) -> Any:
        """Return both."""
        y, other = self.norm(self.first(x))
        return torch.tanh(self.last(y)) + other


class Shortcut(Model):
    """Uses the statistics that the layer keeps."""

    def forward(self, x: torch.Tensor) -> Any:
        """Return the output."""
        return super().forward(x) * self.norm.std + self.norm.mean


class Inverted(Model):
    """A forward hook of the layer takes a loss of its input."""

    def __init__(self, norm: PlainNorm) -> None:
        """Add the hook."""
        super().__init__(norm)
        norm.register_forward_hook(self.keep)

    def keep(self, _: nn.Module, given: tuple[torch.Tensor], __: torch.Tensor) -> None:
        """Keep a loss of x."""
        self.loss = given[0].mean(0).pow(2).sum()

    def forward(self, x: torch.Tensor) -> Any:
        """Return the loss."""
        return super().forward(x).pow(2).mean() + self.loss


class Penalized(Model):
    """A hook before the layer keeps its input, for a penalty."""

    def __init__(self, norm: PlainNorm) -> None:
        """Add the hook."""
        super().__init__(norm)
        norm.register_forward_pre_hook(self.keep)

    def keep(self, _: nn.Module, given: tuple[torch.Tensor]) -> None:
        """Keep x."""
        self.kept = given[0]

    def forward(self, x: torch.Tensor) -> Any:
        """Return the output and the penalty."""
        return super().forward(x), self.kept.pow(2).mean()


ROUTES = {
    "x is returned": (Paired, WithResidual),
    "the mean is returned": (Paired, WithMean),
    "statistics are kept": (Shortcut, PlainNorm),
    "loss of a hook": (Inverted, PlainNorm),
    "penalty on the input": (Penalized, PlainNorm),
}


class Checkpointed(nn.Module):
    """Runs a model again in the backward pass, within which its graph begins and ends."""

    def __init__(self, inner: nn.Module) -> None:
        """Keep the model."""
        super().__init__()
        self.first, self.inner = nn.Linear(5, 5), inner

    def forward(self, x: torch.Tensor) -> Any:
        """Return what the model returns."""
        return checkpoint(self.inner, self.first(x), use_reentrant=True)


@pytest.mark.parametrize("cut", [False, True])
@pytest.mark.parametrize("route", ROUTES)
def test_dx_of_y_alone_is_judged_in_a_checkpoint(route: str, *, cut: bool) -> None:
    """Its graph is not the graph of the forward pass."""
    model, norm = ROUTES[route]
    x = torch.randn(16, 5, generator=torch.Generator().manual_seed(1))
    (record,) = audit_model(Checkpointed(model(norm(cut=cut))), x)
    assert (record.sound, record.through) == (not cut, "none" if cut else "both")
    assert any("another route than y" in note for note in record.notes)


@pytest.mark.parametrize("cut", [False, True])
@pytest.mark.parametrize("route", ROUTES)
def test_dx_of_y_alone_is_judged(route: str, *, cut: bool) -> None:
    """What other outputs, kept statistics and hooks add to dx is no fault of the layer."""
    model, norm = ROUTES[route]
    x = torch.randn(16, 5, generator=torch.Generator().manual_seed(1))
    (record,) = audit_model(model(norm(cut=cut)), x)
    assert (record.sound, record.through) == (not cut, "none" if cut else "both")
    assert [finding.code for finding in record.findings] == (["M04"] if cut else [])
    assert any("another route than y" in note for note in record.notes)


def test_a_hook_that_changes_dx_is_found_beside_another_route() -> None:
    """The second call has the hooks of the layer too."""
    model = Shortcut(PlainNorm(cut=False))
    model.norm.register_full_backward_hook(lambda _, dx, __: (0.5 * dx[0],))
    (record,) = audit_model(model, torch.randn(16, 5))
    assert [finding.code for finding in record.findings] == ["M04"]


def test_a_layer_without_another_route_has_no_note() -> None:
    """Its dx in the model is judged."""
    for model in (Model(PlainNorm(cut=False)), Checkpointed(Model(PlainNorm(cut=False)))):
        (record,) = audit_model(model, torch.randn(16, 5))
        assert record.clean
        assert not any("another route" in note for note in record.notes)

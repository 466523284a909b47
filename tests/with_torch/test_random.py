"""Layers that draw random numbers: they are held fixed, and the record says so."""

from __future__ import annotations

from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

from torch import Tensor, nn  # noqa: E402

from backnorm.audit import audit  # noqa: E402


class Noisy(nn.BatchNorm2d):
    """Noise in the order of the memory of x."""

    def forward(self, x: Tensor) -> Tensor:
        """Return y."""
        return super().forward(x) + torch.randn_like(x)


class Dropping(nn.BatchNorm2d):
    """A dropout behind the layer."""

    def forward(self, x: Tensor) -> Tensor:
        """Return y."""
        return nn.functional.dropout(super().forward(x), 0.3, self.training)


class _Redrawn(torch.autograd.Function):
    """A dropout whose backward pass draws another mask."""

    @staticmethod
    def forward(_: Any, y: Tensor) -> Tensor:
        return y * (torch.rand_like(y) > 0.5)

    @staticmethod
    def backward(_: Any, dy: Tensor) -> Tensor:
        return dy * (torch.rand_like(dy) > 0.5)


class Redrawing(nn.BatchNorm2d):
    """Its gradient is that of other random numbers."""

    def forward(self, x: Tensor) -> Tensor:
        """Return y."""
        return _Redrawn.apply(super().forward(x))  # type: ignore[no-any-return]


class Cut(nn.BatchNorm2d):
    """Noise behind a layer through which no gradient passes the statistics."""

    def forward(self, x: Tensor) -> Tensor:
        """Return y."""
        mean, var = x.detach().mean((0, 2, 3)), x.detach().var((0, 2, 3), unbiased=False)
        shape = (1, -1, 1, 1)
        y = (x - mean.view(shape)) / torch.sqrt(var.view(shape) + self.eps)
        return y * self.weight.view(shape) + self.bias.view(shape) + torch.randn_like(x)


class OwnGenerator(nn.BatchNorm2d):
    """Seeds a generator of its own in each call: nothing can be told from its random state."""

    def forward(self, x: Tensor) -> Tensor:
        """Return y."""
        noise = torch.empty_like(x).normal_(generator=torch.Generator().manual_seed(1))
        return super().forward(x) + noise


@pytest.mark.parametrize("layer", [Noisy(3), Dropping(3)])
def test_random_layers_are_said_to_be_random(layer: nn.Module) -> None:
    """The gradient is right for what was drawn, in every memory order."""
    record = audit(layer)
    codes = [finding.code for finding in record.findings]
    assert "R03" in codes
    assert "I01" not in codes
    assert (record.sound, record.clean or codes) == (True, record.clean or ["D03", "R03"])
    assert any(note.startswith("It draws random numbers.") for note in record.notes)
    what = next(probe.what for probe in record.probes if probe.code == "P40")
    assert what.count("error of d") == 7


@pytest.mark.parametrize("layer", [Redrawing(3), Cut(3)])
def test_wrong_gradients_of_random_layers_are_wrong(layer: nn.Module) -> None:
    """Of another draw, or without the statistics."""
    assert audit(layer, quick=True).sound is False


def test_layers_that_draw_nothing_are_not_random() -> None:
    """Not a dropout that is switched off either."""
    for layer in (nn.BatchNorm2d(3), Dropping(3).eval()):
        record = audit(layer)
        assert "R03" not in [finding.code for finding in record.findings]
        assert not any("random" in note for note in record.notes)


def test_a_draw_of_its_own_generator_depends_on_the_memory_order() -> None:
    """I01 speaks of y too: nothing shows that the values are random."""
    record = audit(OwnGenerator(3))
    found = next(finding for finding in record.findings if finding.code == "I01")
    assert found.what.startswith("y or the gradient is wrong")


class Averaged(nn.BatchNorm2d):
    """Normalizes with moving averages that the batch has just updated."""

    def __init__(self, channels: int, *, cut: bool) -> None:
        super().__init__(channels)
        self.cut = cut

    def forward(self, x: Tensor) -> Tensor:
        """Return y."""
        mean, var = self.running_mean, self.running_var
        if self.training:
            seen = x.detach() if self.cut else x
            mean = 0.9 * mean + 0.1 * seen.mean((0, 2, 3))  # type: ignore[operator]
            var = 0.9 * var + 0.1 * seen.var((0, 2, 3), unbiased=False)  # type: ignore[operator]
            with torch.no_grad():
                self.running_mean.copy_(mean)  # type: ignore[union-attr]
                self.running_var.copy_(var)  # type: ignore[union-attr]
        shape = (1, -1, 1, 1)
        y = (x - mean.view(shape)) / torch.sqrt(var.view(shape) + self.eps)  # type: ignore[union-attr]
        return y * self.weight.view(shape) + self.bias.view(shape)


def test_a_moving_average_that_no_gradient_passes_says_its_share() -> None:
    """The finding, the law and the note agree; with the gradient of its share it is right."""
    wrong, right = (audit(Averaged(3, cut=cut), quick=True) for cut in (True, False))
    blend = (
        "a blend of statistics, such as a moving average, of which 0.1 of the mean and 0.1 of the "
        "variance is computed from x"
    )
    assert (wrong.sound, wrong.through, wrong.law) == (False, "none", blend)
    assert [finding.code for finding in wrong.findings] == ["G03"]
    assert wrong.findings[0].got.startswith(
        f"{blend}, and the gradient passes none of it: direct 1"
    )
    assert f"It normalizes with {blend}." in wrong.notes
    assert (right.sound, right.through, right.law) == (True, "both", blend)

"""Layers with a second input, and layers that a model calls once for each step of a sequence."""

from __future__ import annotations

from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

from torch import nn  # noqa: E402

from backnorm.torch import audit_model  # noqa: E402

STEPS = 3

MAY = "may choose the values that are averaged, or be what y is multiplied by"


def drawn(*shape: int) -> torch.Tensor:
    """Return random numbers, the same each time."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(1))


class MaskedNorm(nn.BatchNorm1d):
    """Takes statistics of the values that a mask chooses."""

    def forward(self, x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
        """Return y."""
        n = mask.sum()
        mean = (x * mask).sum((0, 2), keepdim=True) / n
        var = ((x - mean) ** 2 * mask).sum((0, 2), keepdim=True) / n
        return (x - mean) * torch.rsqrt(var + self.eps) * self.weight.view(-1, 1)


class ConditionalNorm(nn.BatchNorm1d):
    """Has a gamma for each class of samples."""

    def __init__(self, channels: int) -> None:
        """Make its parts."""
        super().__init__(channels, affine=False)
        self.gamma = nn.Embedding(5, channels)

    def forward(self, x: torch.Tensor, label: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
        """Return y."""
        return super().forward(x) * self.gamma(label)[:, :, None]


class Around(nn.Module):
    """Passes a second input to its layer, by its place or by its name."""

    def __init__(self, layer: nn.Module, name: str = "") -> None:
        """Make its parts."""
        super().__init__()
        self.first, self.norm, self.name = nn.Conv1d(3, 4, 1), layer, name

    def forward(self, x: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
        """Return y."""
        x = self.first(x)
        return self.norm(x, **{self.name: second}) if self.name else self.norm(x, second)


MASK = (torch.arange(10) < torch.arange(3, 11)[:, None])[:, None].float()

SECOND = {
    "a mask": (Around(MaskedNorm(4)), MASK, "argument 2"),
    "a mask by its name": (Around(MaskedNorm(4), "mask"), MASK, "mask"),
    "classes": (Around(ConditionalNorm(4)), torch.arange(8) % 5, "argument 2"),
}


@pytest.mark.parametrize("name", SECOND)
def test_the_reason_names_a_second_input(name: str) -> None:
    """Which values the statistics are of, or what gamma is, may be in it: it is not judged."""
    model, second, words = SECOND[name]
    (record,) = audit_model(model, (drawn(8, 3, 10), second))
    assert record.sound is None
    assert record.not_judged.endswith(f"; {words} of its forward pass {MAY}")


def test_a_second_input_that_changes_nothing_is_not_in_the_way() -> None:
    """With a mask of ones the statistics are those of the batch."""
    (record,) = audit_model(Around(MaskedNorm(4)), (drawn(8, 3, 10), torch.ones_like(MASK)))
    assert (record.sound, record.through) == (True, "both")


class Recurrent(nn.Module):
    """Normalizes what comes of the input and of a state, which is 0 at first."""

    def __init__(self, norm: Any) -> None:
        """Make its parts."""
        super().__init__()
        self.of_input, self.of_state, self.norm = nn.Linear(3, 6), nn.Linear(6, 6), norm

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the last state."""
        state = x.new_zeros(len(x), 6)
        for step in range(STEPS):
            state = self.norm(self.of_input(x[:, step])) + self.norm(self.of_state(state))
            state = state.tanh()
        return state


def test_a_state_of_zeros_is_not_taken_for_a_fault() -> None:
    """Each row of x is its bias there: y follows gamma by rounding, and the other calls judge."""
    torch.manual_seed(0)
    (record,) = audit_model(Recurrent(nn.BatchNorm1d(6)), drawn(8, STEPS, 3))
    assert (record.sound, record.through) == (True, "both")
    assert not {"G13", "M09"} & {finding.code for finding in record.findings}
    assert record.notes[-2:] == (
        "Called 6 times in one pass.",
        "Not judged in 1 of these calls, in which each row of x is constant.",
    )


def test_a_layer_whose_calls_have_constant_rows_is_not_judged() -> None:
    """No other call judges it."""
    model = nn.Sequential(nn.Linear(3, 6), nn.BatchNorm1d(6))
    (record,) = audit_model(model, torch.zeros(8, 3))
    assert (record.sound, record.not_judged) == (None, "each row of x is constant")


def test_samples_that_are_alike_do_not_make_a_layer_dead() -> None:
    """Layer normalization of the same x in each sample, whose values differ."""
    torch.manual_seed(0)
    (record,) = audit_model(Recurrent(nn.LayerNorm(6)), drawn(8, STEPS, 3))
    assert (record.sound, record.through, record.findings) == (True, "both", ())

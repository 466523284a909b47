"""Every spelling of every activation is fused, in a Sequential and in a forward."""

from __future__ import annotations

from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

from torch import nn  # noqa: E402

from backnorm.torch import conversion_report, convert  # noqa: E402
from backnorm.torch.conversion.activations import SPELLINGS  # noqa: E402
from with_torch.conversion.models import assert_same, built  # noqa: E402

SHAPE = (2, 3, 4, 5)
CALLS = [call for spelling in SPELLINGS.values() for call in spelling.calls]


class Calling(nn.Module):
    """A normalization and a function of its output."""

    def __init__(self, call: Any) -> None:
        super().__init__()
        self.norm, self.call = nn.BatchNorm2d(3), call

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return y."""
        y: torch.Tensor = self.call(self.norm(x))
        return y


class Relu(Calling):
    """The method."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return y."""
        return self.norm(x).relu()  # type: ignore[no-any-return]


class ReluInto(Calling):
    """The method that overwrites."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return y."""
        return self.norm(x).relu_()  # type: ignore[no-any-return]


METHODS = {"relu": Relu, "relu_": ReluInto}


@pytest.mark.parametrize("name", SPELLINGS)
def test_a_module_is_fused(name: str) -> None:
    """It computes what it did."""
    want, got = (
        built(lambda: nn.Sequential(nn.BatchNorm2d(3), SPELLINGS[name].module())) for _ in range(2)
    )
    assert conversion_report(convert(got)).entries[0].fused == name
    assert_same(got, want, SHAPE)


@pytest.mark.parametrize("call", CALLS, ids=lambda call: getattr(call, "__name__", call))
def test_a_call_is_fused(call: Any) -> None:
    """It computes what it did."""
    cls = METHODS[call] if isinstance(call, str) else Calling
    want, got = (built(lambda: cls(call)) for _ in range(2))
    assert conversion_report(convert(got)).fused == 1
    assert_same(got, want, SHAPE)

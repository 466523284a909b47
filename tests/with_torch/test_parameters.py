"""Which parameters of a module are gamma and beta, and what evaluation may depend on."""

from __future__ import annotations

from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

from torch import nn  # noqa: E402

import backnorm as bn  # noqa: E402
from backnorm.audit.subjects.registry import subjects_of  # noqa: E402
from backnorm.audit.subjects.request import AuditRequest  # noqa: E402
from backnorm.host.calls.torch_modules import parameter_names  # noqa: E402


class Tanh(nn.Module):  # type: ignore[misc]
    """One alpha for all channels stands before the weight."""

    def __init__(self) -> None:
        super().__init__()
        self.alpha = nn.Parameter(torch.ones(1))
        self.weight = nn.Parameter(torch.ones(4))


class Scalar(nn.Module):  # type: ignore[misc]
    """A number that scales all vectors."""

    def __init__(self) -> None:
        super().__init__()
        self.g = nn.Parameter(torch.tensor(3.0))


@pytest.mark.parametrize(
    ("module", "names"),
    [
        (Tanh(), {"gamma": "weight"}),
        (Scalar(), {}),
        (nn.Embedding(3, 4), {}),
        (nn.Conv2d(4, 4, 1), {}),
        (nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4)), {"gamma": "1.weight", "beta": "1.bias"}),
    ],
)
def test_gamma_has_one_value_for_each_channel(module: Any, names: dict[str, str]) -> None:
    """A scalar, and weights that mix channels, are not gamma."""
    assert parameter_names(module) == names


class Halves(nn.Module):  # type: ignore[misc]
    """Each half of the channels has a normalization with its gamma."""

    def __init__(self, planes: int) -> None:
        super().__init__()
        self.first = nn.BatchNorm2d(planes // 2)
        self.second = nn.BatchNorm2d(planes - planes // 2)

    def forward(self, x: Any) -> Any:
        """Return y."""
        a, b = x.chunk(2, 1)
        return torch.cat([self.first(a), self.second(b)], 1)


def test_a_parts_gamma_is_not_the_whole_ones() -> None:
    """The number of channels is what the module was constructed with."""
    (subject,) = subjects_of(Halves, AuditRequest(modes="train"))
    assert (subject.sample_shape, subject.has_gamma) == ((4, 2, 2), False)
    assert bn.audit(subject).sound


class Centred(nn.Module):  # type: ignore[misc]
    """Subtracts the batch's mean in both modes, and keeps nothing."""

    def forward(self, x: Any) -> Any:
        """Return y."""
        return x - x.mean(0)


class ByPosition(nn.Module):  # type: ignore[misc]
    """Every third sample is padding, which counts in no mean."""

    def forward(self, x: Any) -> Any:
        """Return y."""
        mask = (torch.arange(len(x)) % 3 < 2).to(x.dtype)[:, None]
        return (x - (x * mask).sum(0) / mask.sum()) * mask


class Corrected(nn.Module):  # type: ignore[misc]
    """Evaluation depends on how many samples there are, and keeps nothing."""

    def forward(self, x: Any) -> Any:
        """Return y."""
        return x * (1 if self.training else len(x) / (len(x) + 1))


@pytest.mark.parametrize(
    ("module", "found"), [(Centred, set()), (ByPosition, set()), (Corrected, {"S07"})]
)
def test_what_keeps_nothing_may_evaluate_with_the_batch(module: Any, found: set[str]) -> None:
    """But not with the number of samples alone."""
    subjects = subjects_of(module, AuditRequest(modes="both"))
    assert {f.code for s in subjects for f in bn.audit(s).findings if f.code[0] == "S"} == found

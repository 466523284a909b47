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


class LogScale(nn.Module):  # type: ignore[misc]
    """Two parameters that begin with zeros: their names tell them apart."""

    def __init__(self, log_scale: str) -> None:
        super().__init__()
        self.register_parameter(log_scale, nn.Parameter(torch.zeros(4)))
        self.shift = nn.Parameter(torch.zeros(4))


class Shifts(nn.Module):  # type: ignore[misc]
    """Zeros that are not one value for each channel stand beside a weight."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(4))
        self.shifts = nn.Parameter(torch.zeros(2, 4))

    def forward(self, x: Any) -> Any:
        """Return y."""
        shape = (1, -1, *(1,) * (x.dim() - 2))
        y = torch.nn.functional.batch_norm(x, None, None, self.weight, training=True)
        return y + (self.shifts[0] - self.shifts[1]).reshape(shape)


@pytest.mark.parametrize(
    ("module", "names"),
    [
        (Shifts(), {"gamma": "weight"}),
        (LogScale("log_gamma"), {"gamma": "log_gamma", "beta": "shift"}),
        (LogScale("theta"), {"beta": "shift"}),
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


def test_zeros_of_another_size_are_a_third_parameter() -> None:
    """The layer is audited, and its gradient by them is compared too."""
    record = bn.audit(Shifts(), quick=True)
    assert (record.sound, record.findings) == (True, ())


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


class Gated(nn.Module):  # type: ignore[misc]
    """A layer normalization between a weight and a bias before it, and a slope behind it."""

    def __init__(self, features: int, cut: str = "") -> None:
        super().__init__()
        self.cut = cut
        self.mix = nn.Linear(features, features)
        self.norm = nn.LayerNorm(features)
        self.x = nn.Parameter(torch.full((features,), 0.2))

    def forward(self, x: Any) -> Any:
        """Return y."""
        values = {"mix": self.mix.weight, "slope": self.x}
        mixed, slope = (v.detach() if self.cut == n else v for n, v in values.items())
        y = self.norm(nn.functional.linear(x, mixed, self.mix.bias))
        return torch.where(y > 0, y, slope * y)


@pytest.mark.parametrize(("cut", "named"), [("", ""), ("mix", "mix.weight"), ("slope", "x")])
def test_every_parameter_that_trains_is_compared(cut: str, named: str) -> None:
    """A missing gradient is a finding that names it; y only rounds with a bias that cancels."""
    record = bn.audit(Gated(6, cut), quick=True, kind="layer")
    found = {f.code: f.got for f in record.findings}
    assert set(found) == ({"G19"} if named else set())
    assert named == "" or f" {named} 1.0e+00" in found["G19"]


def test_what_does_not_train_is_not_compared() -> None:
    """A weight and a slope without requires_grad."""
    layer = Gated(6, "mix")
    layer.mix.requires_grad_(requires_grad=False)
    assert not bn.audit(layer, quick=True, kind="layer").findings


def test_ones_that_do_not_train_are_not_gamma() -> None:
    """They may be a statistic."""
    layer = nn.Module()
    layer.square, layer.factor = (nn.Parameter(torch.ones(4)) for _ in range(2))
    layer.square.requires_grad_(requires_grad=False)
    assert parameter_names(layer) == {"gamma": "factor"}


class Stepped(nn.Module):  # type: ignore[misc]
    """y follows a threshold in steps, so that its gradient cannot be compared."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(4))
        self.bias = nn.Parameter(torch.zeros(4))
        self.level = nn.Parameter(torch.full((1,), 0.3))

    def forward(self, x: Any) -> Any:
        """Return y."""
        y = torch.nn.functional.batch_norm(x, None, None, self.weight, self.bias, training=True)
        return y + torch.floor(self.level)


def test_a_parameter_that_was_not_compared_is_named() -> None:
    """A verdict does not cover it, and a note says so."""
    record = bn.audit(Stepped(), quick=True)
    assert record.sound
    assert record.notes[-1] == (
        "The gradient of level was not compared: y does not follow it, or not smoothly."
    )

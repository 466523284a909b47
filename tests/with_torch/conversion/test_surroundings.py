"""What a forward reads outside of itself: changed later, or changed by tracing, it counts."""

from __future__ import annotations

import pickle
from copy import deepcopy
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

from torch import nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402, N812

from backnorm.torch import conversion_report, convert  # noqa: E402
from with_torch.conversion.models import assert_same, built, drawn  # noqa: E402

SHAPE = (2, 3, 4, 6)
FACTOR = 2.0
ACT = F.relu
SEEN: list[Any] = []
OPTIONS = {"factor": 2.0}


def helper(y: torch.Tensor) -> torch.Tensor:
    """Return y."""
    return y * 1.0


class Settings:
    """A class that is used as a namespace."""

    factor = 2.0


class Base(nn.Module):
    """Layers for the forwards below."""

    def __init__(self) -> None:
        super().__init__()
        self.c, self.b, self.a = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3), nn.ReLU()
        self.blocks = nn.Sequential(nn.Conv2d(3, 3, 1), nn.Tanh())
        self.dropout, self.feats, self.call = nn.Dropout(0.0), [], SEEN.append

    def post(self, y: torch.Tensor) -> torch.Tensor:
        """Return y."""
        return y

    def block(self, x: torch.Tensor) -> torch.Tensor:
        """Return what is fused."""
        y: torch.Tensor = self.a(self.b(self.c(x)))
        return y


class Scalar(Base):
    """Reads a global number."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return y."""
        return self.block(x) * FACTOR


class Namespace(Base):
    """Reads a number of a class."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return y."""
        return self.block(x) * Settings.factor


class Helped(Base):
    """Calls a global function."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return y."""
        return helper(self.block(x))


class Posted(Base):
    """Calls its method."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return y."""
        return self.post(self.block(x))


class Renamed(Base):
    """Calls an activation under a global name."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return y."""
        return ACT(self.b(self.c(x)))


class Looped(Base):
    """Goes over the children of a Sequential."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return y."""
        y = self.block(x)
        for layer in self.blocks:
            y = layer(y)
        return y


class Walk(nn.Sequential):
    """A Sequential that defines forward."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return y."""
        for layer in self:
            x = layer(x)
        return x


def times(factor: float) -> Any:
    """Return a function that multiplies."""
    return lambda *arguments: arguments[-1] * factor


# name: class, how many are fused, what is changed later
CHANGED: dict[str, tuple[Any, Any]] = {
    "a global number": (Scalar, lambda _, patch: patch.setitem(globals(), "FACTOR", 7.0)),
    "a number of a class": (Namespace, lambda _, patch: patch.setattr(Settings, "factor", 7.0)),
    "a global function": (Helped, lambda _, patch: patch.setitem(globals(), "helper", times(3))),
    "a method": (Posted, lambda model, _: setattr(model, "post", times(3))),
    "a method of the class": (Posted, lambda _, patch: patch.setattr(Base, "post", times(3))),
    "the forward": (Posted, lambda _, patch: patch.setattr(Posted, "forward", times(3))),
    "an activation": (Renamed, lambda _, patch: patch.setitem(globals(), "ACT", torch.tanh)),
    "a child that is added": (Looped, lambda model, _: model.blocks.append(nn.Sigmoid())),
    "a child that is deleted": (Looped, lambda model, _: model.blocks.__delitem__(1)),
    "a child of a loop": (
        lambda: Walk(nn.BatchNorm2d(3), nn.ReLU()),
        lambda model, _: model.append(nn.Tanh()),
    ),
}


@pytest.mark.parametrize("name", CHANGED)
def test_what_is_changed_later_counts(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """For the model, its copy and its pickle."""
    build, change = CHANGED[name]
    want, got = built(build), convert(built(build))
    assert conversion_report(got).fused == 1, str(conversion_report(got))
    copies = [got, deepcopy(got), pickle.loads(pickle.dumps(got))]  # noqa: S301
    for one in (want, *copies):
        with monkeypatch.context() as patch:
            change(one, patch)
            if one is want:
                continue
            reference = deepcopy(want)
            assert_same(one, reference, SHAPE)


class Listening(Base):
    """Gives its output to a function."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return y."""
        y = self.block(x)
        self.call(y)
        return y


class Logging(Base):
    """Appends its output to a global list."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return y."""
        y = self.block(x)
        SEEN.append(y)
        return y


class Keeping(Base):
    """Appends its output to its list."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return y."""
        y = self.block(x)
        self.feats.append(y)
        return y


class Chosen(Base):
    """Reads a dictionary."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return y."""
        return self.block(x) * OPTIONS["factor"]


class OfAChild(Base):
    """Reads a number of a child."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return y."""
        return F.dropout(self.block(x), self.dropout.p)


class OfNumpy(Base):
    """Reads a number of NumPy."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return y."""
        return self.block(x) * ROOT


class Reversed(torch.autograd.Function):
    """Reverses the gradient."""

    @staticmethod
    def forward(_: Any, x: torch.Tensor) -> torch.Tensor:
        """Return y."""
        return x.view_as(x)

    @staticmethod
    def backward(_: Any, *dy: Any) -> Any:
        """Return dx."""
        return -dy[0]


class Reversing(Base):
    """Calls a function that has its backward pass."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return y."""
        return reverse(self.block(x))


class Doubling(nn.Conv2d):
    """Does something beside forward when it is called."""

    def __call__(self, *arguments: Any) -> Any:
        """Return y."""
        return super().__call__(*arguments) * 2


class OverridesCall(Base):
    """Has such a child."""

    def __init__(self) -> None:
        super().__init__()
        self.c = Doubling(3, 3, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return y."""
        return self.block(x)


class Hidden(Base):
    """Calls a function with effects under a private name."""

    def __init__(self) -> None:
        super().__init__()
        self._call = SEEN.append

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return y."""
        y = self.block(x)
        self._call(y)
        return y


ROOT = np.sqrt(0.5)
reverse = Reversed.apply


class Missing(Base):
    """Reads an attribute that is not there."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return y."""
        return self.block(x) * getattr(self, "scale", 1.0)


def enclosed() -> nn.Module:
    """Return a module whose forward reads a variable of this function."""
    factor = 2.0

    class Enclosed(Base):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.block(x) * factor

    return Enclosed()


REFUSED: dict[str, tuple[Any, str]] = {
    "a function with effects": (Listening, "reads call, a builtin_function_or_method"),
    "a global list": (Logging, "reads SEEN, a list"),
    "a list": (Keeping, "reads feats, a list"),
    "a dictionary": (Chosen, "reads OPTIONS, a dict"),
    "a number of a child": (OfAChild, "reads p of a child"),
    "an attribute that is missing": (Missing, "uses getattr"),
    "a number of NumPy": (OfNumpy, "reads ROOT, a float64"),
    "a backward pass": (Reversing, "reads reverse, a "),
    "a child with __call__": (OverridesCall, "a child defines __call__"),
    "a private name": (Hidden, "reads _call, a builtin_function_or_method"),
    "an enclosed variable": (enclosed, "reads factor of a function around it"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_a_graph_does_not_show_is_not_traced(name: str) -> None:
    """The layer is converted, the activation is not fused, and nothing was called."""
    build, why = REFUSED[name]
    SEEN.clear()
    want, got = built(build), convert(built(build))
    report = conversion_report(got)
    assert (report.converted, report.fused) == (1, 0)
    assert why in report.entries[0].why, report.entries[0].why
    assert (SEEN, getattr(got, "feats", [])) == ([], [])
    assert_same(got, want, SHAPE)


class Residual(Base):
    """Adds to the output of the normalization in place."""

    def forward(self, x: torch.Tensor, residual: torch.Tensor) -> torch.Tensor:
        """Return y."""
        y = self.b(x)
        y += residual
        return self.a(y)


def test_a_sum_in_place_keeps_dtype_and_shape() -> None:
    """Another dtype is rounded, and what needs a larger output is refused, as by stock."""
    want, got = Residual(), convert(Residual())
    assert conversion_report(got).fused == 1
    x = drawn(SHAPE, 0).float()
    results = [model(x, x.double()) for model in (want, got)]
    assert [y.dtype for y in results] == [torch.float32] * 2
    torch.testing.assert_close(*results)
    for model in (want, got):
        with pytest.raises(RuntimeError, match="broadcast"):
            model(x[:, :, :1, :1], x)


def test_models_are_converted_among_fake_tensors() -> None:
    """Nothing is traced there, and the report says so."""
    from torch._subclasses.fake_tensor import FakeTensorMode  # noqa: PLC0415 - private

    with FakeTensorMode():
        report = conversion_report(convert(Posted()))
    assert (report.converted, report.fused) == (1, 0)
    assert "a mode of PyTorch is active" in report.entries[0].why

"""What stands between x_hat and y: activations, and constants beside gamma and beta."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from audit.pairs import Law
from backnorm.audit import audit
from backnorm.audit.measure.activations import FUNCTIONS, functions

RAMP = np.linspace(0.5, 2.0, 3)


@dataclass(frozen=True)
class Through:
    """A normalization whose dx lacks some paths, with an activation behind it."""

    name: str
    cut: bool = False

    def forward(self, x: Any, gamma: Any, beta: Any) -> tuple[Any, Any]:
        """Return y and the cache."""
        u, cache = Law().forward(x, gamma, beta)
        return FUNCTIONS[self.name](u).astype(x.dtype), (u, cache)

    def backward(self, dy: Any, cache: Any) -> tuple[Any, Any, Any]:
        """Return dx, dgamma, dbeta."""
        u, inner = cache
        (f,) = (f for f in functions() if f.name == self.name)
        d = dy * f.slope(u.astype(np.float64))
        dx, dgamma, dbeta = Law().backward(d, inner)
        _, std, _, g, _ = inner
        return (g * d / std if self.cut else dx), dgamma, dbeta


@dataclass(frozen=True)
class Scaled:
    """y = ramp*(gamma*x_hat + beta) if whole, else gamma*ramp*x_hat + beta + ramp."""

    whole: bool
    cut: bool = False

    def forward(self, x: Any, gamma: Any, beta: Any) -> tuple[Any, Any]:
        """Return y and the cache."""
        k = RAMP.astype(x.dtype)
        given = (k * gamma, k * beta) if self.whole else (k * gamma, beta + k)
        return Law().forward(x, *given)

    def backward(self, dy: Any, cache: Any) -> tuple[Any, Any, Any]:
        """Return dx, dgamma, dbeta."""
        dx, dgamma, dbeta = Law().backward(dy, cache)
        _, std, _, g, _ = cache
        return g * dy / std if self.cut else dx, dgamma * RAMP, dbeta * (RAMP if self.whole else 1)


@pytest.mark.parametrize("name", ["relu", "silu", "gelu", "hardswish", "tanh", "sigmoid"])
def test_paths_are_measured_through_an_activation(name: str) -> None:
    """A right gradient has both paths, one that takes constants none; a note says through what."""
    right, cut = audit(Through(name)), audit(Through(name, cut=True))
    assert (right.sound, right.through, right.mode) == (True, "both", "batch")
    assert (cut.sound, cut.through, cut.findings[0].code) == (False, "none", "G03")
    assert f"It was judged through its activation, {name}." in right.notes


@pytest.mark.parametrize("whole", [True, False])
def test_constants_beside_gamma_are_seen(whole: bool) -> None:  # noqa: FBT001
    """They hide neither the law nor a missing path."""
    right, cut = audit(Scaled(whole)), audit(Scaled(whole, cut=True))
    assert (right.sound, right.through, right.mode) == (True, "both", "batch")
    assert (cut.sound, cut.through, cut.findings[0].code) == (False, "none", "G03")
    assert any("constants beside gamma" in note for note in right.notes)


def test_a_plain_layer_has_no_constants() -> None:
    """Where a law is found without, no constants are looked for."""
    assert not any("constants beside" in note for note in audit(Law()).notes)


class InSteps(Law):
    """y in steps of 1/16, with the gradient of what is not rounded."""

    def forward(self, x: Any, gamma: Any, beta: Any) -> tuple[Any, Any]:
        """Return y and the cache."""
        y, cache = super().forward(x, gamma, beta)
        return np.round(y * 16) / 16, cache


def test_steps_have_no_derivative_to_compare_with() -> None:
    """In float64 a small step hardly ever meets a jump; a gradient of 0 is not asked for."""
    record = audit(InSteps())
    assert (record.sound, record.findings[0].code) == (None, "G15")


class NotDivided(Law):
    """Both sums are divided by the number of samples, or by nothing."""

    def __init__(self, divisor: Any) -> None:
        super().__init__()
        object.__setattr__(self, "divisor", divisor)

    def backward(self, dy: Any, cache: Any) -> tuple[Any, Any, Any]:
        """Return dx, dgamma, dbeta."""
        centred, std, _, g, _ = cache
        _, dgamma, dbeta = super().backward(dy, cache)
        n, axes = self.divisor(dy), (0, 2, 3)
        d, x_hat = g * dy / std, centred / std
        along = (d * x_hat).sum(axes, keepdims=True)
        return d - (d.sum(axes, keepdims=True) + x_hat * along) / n, dgamma, dbeta


@pytest.mark.parametrize("divisor", [len, lambda _: 1], ids=["samples", "nothing"])
def test_sums_that_are_not_divided_are_named(divisor: Any) -> None:
    """Both at once are the same fault as either."""
    assert [f.code for f in audit(NotDivided(divisor)).findings if f.code[0] == "G"] == ["G09"]

"""Derivatives of a subject's own gradient, beside the slopes of that gradient."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from audit.pairs import Law
from backnorm.audit import audit
from backnorm.audit.specimens.orders import ThreeOrders

if TYPE_CHECKING:
    from collections.abc import Sequence

    from backnorm.audit.record import ProbeResult


def probe(pair: Any, code: str) -> ProbeResult:
    """Audit a pair, and return one of its probes."""
    return next(p for p in audit(pair).probes if p.code == code)


class Scaled(ThreeOrders):
    """Derivatives of any order, multiplied by something by one of the arguments."""

    def __init__(self, name: str, factor: float, order: int) -> None:
        self.name, self.factor, self.order = name, factor, order

    def higher(  # type: ignore[override]
        self, x: Any, gamma: Any, beta: Any, dy: Any, along: Sequence[Any]
    ) -> dict[str, Any]:
        """Return them."""
        found = ThreeOrders.higher(x, gamma, beta, dy, along)
        if len(along) + 1 == self.order:
            found[self.name] = found[self.name] * self.factor
        return found


@pytest.mark.parametrize("order", [2, 3])
@pytest.mark.parametrize("name", ["x", "gamma", "dy"])
def test_a_wrong_derivative_by_any_argument_is_found(name: str, order: int) -> None:
    """An error of 1e-4 of it shows; one of 1e-9 is rounding."""
    codes = [f.code for f in audit(Scaled(name, 1.0001, order)).findings]
    assert codes == [f"D0{order}"]
    assert audit(Scaled(name, 1 + 1e-9, order)).findings == ()


def test_the_errors_are_said() -> None:
    """By each argument; right ones are good to ten digits."""
    said = probe(ThreeOrders(), "P30").what
    errors = [float(part.split()[-1]) for part in said.removesuffix(" (float64)").split(", ")]
    assert len(errors) == 4
    assert max(errors) < 1e-10


def test_what_cannot_be_differentiated_is_skipped() -> None:
    """A pair without `higher` is no fault, and neither is a wrong gradient's derivative."""
    skipped = probe(Law(), "P30")
    assert (skipped.result, audit(Law()).clean) == ("skipped", True)
    assert skipped.what == "not possible here: the audit cannot differentiate its gradient again"


class Doubled(ThreeOrders):
    """A wrong gradient with the derivative of the right one."""

    @staticmethod
    def backward(dy: Any, cache: Any) -> Any:
        """Return dx twice."""
        dx, dgamma, dbeta = ThreeOrders.backward(dy, cache)
        return 2 * dx, dgamma, dbeta


def test_a_wrong_gradient_is_not_differentiated() -> None:
    """One fault is said once."""
    assert probe(Doubled(), "P31").what == "the gradient is not sound"
    assert [f.code for f in audit(Doubled()).findings] == ["G05"]


class Unreachable(ThreeOrders):
    """Refuses in words."""

    def higher(self, *given: Any) -> dict[str, Any]:  # type: ignore[override]  # noqa: ARG002
        """Raise."""
        message = "once only\nmore of that"
        raise RuntimeError(message)


def test_a_refusal_is_quoted() -> None:
    """Its first line."""
    refused = probe(Unreachable(), "P30")
    assert (refused.result, refused.what) == (
        "skipped",
        "it raises in place of a derivative: RuntimeError: once only",
    )


class Rectified(ThreeOrders):
    """A relu behind it: dx jumps where y crosses 0."""

    @staticmethod
    def forward(x: Any, gamma: Any, beta: Any) -> Any:
        """Return y and the cache."""
        y, cache = ThreeOrders.forward(x, gamma, beta)
        return np.maximum(y, 0), (y, cache)

    @staticmethod
    def backward(dy: Any, cache: Any) -> Any:
        """Return dx, dgamma, dbeta."""
        y, inner = cache
        return ThreeOrders.backward(dy * (y > 0), inner)

    @staticmethod
    def higher(x: Any, gamma: Any, beta: Any, dy: Any, along: Sequence[Any]) -> dict[str, Any]:
        """Return them."""
        y, _ = ThreeOrders.forward(x, gamma, beta)
        found = ThreeOrders.higher(x, gamma, beta, dy * (y > 0), along)
        return {**found, "dy": found["dy"] * (y > 0)}


@pytest.mark.parametrize("seed", range(6))
def test_directions_across_a_kink_are_left_out(seed: int) -> None:
    """They are no reason to find fault with a right derivative."""
    assert audit(Rectified(), seed=seed).findings == ()

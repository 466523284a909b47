"""What a call of a NumPy pair leaves behind, which runners tell, and what eps can be told."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from audit.pairs import AXES, Law, column
from backnorm.audit import audit
from backnorm.audit.measure.exact import exact_law
from backnorm.audit.measure.forward_law import recover_forward_law
from backnorm.audit.specimens.left_behind import Centring, ErrorsIgnored, Sampling
from backnorm.audit.subjects.registry import as_subject
from backnorm.host.traces import World


def codes(pair: Any) -> list[str]:
    """Return the codes of all findings."""
    return [found.code for found in audit(pair).findings]


def test_what_was_changed_is_put_back() -> None:
    """The audit leaves the world as it was, also after a subject that changes it."""
    before = np.random.get_state()[1].tobytes(), random.getstate(), np.geterr()  # type: ignore[index,union-attr]  # noqa: NPY002
    with World() as world:
        np.random.seed(3)  # noqa: NPY002
        random.seed(3)
        np.seterr(over="raise")
    assert world.changed == [
        "the random state of NumPy",
        "the random state of Python",
        "the error state of NumPy",
    ]
    after = np.random.get_state()[1].tobytes(), random.getstate(), np.geterr()  # type: ignore[index,union-attr]  # noqa: NPY002
    assert after == before


def test_findings_name_what_is_changed() -> None:
    """Which array, and which part of the world."""
    got = [audit(pair).findings[0].got for pair in (Centring(False), Sampling(False))]  # noqa: FBT003
    assert got == ["other values in x", "a change of the random state of NumPy"]
    with np.errstate():
        record = audit(ErrorsIgnored(restored=False))
    assert record.findings[0].got == "a change of the error state of NumPy"


@dataclass
class Sticky:
    """Its running variance becomes NaN in training, or is right."""

    spoils: bool
    training: bool = True
    running_mean: Any = 0.0
    running_var: Any = 1.0

    def forward(self, x: Any, gamma: Any, beta: Any) -> tuple[Any, Any]:
        """Return y and the cache."""
        if self.training:
            self.running_mean = 0.9 * self.running_mean + 0.1 * x.mean(AXES)
            self.running_var = 0.9 * self.running_var + 0.1 * x.var(AXES)
            if self.spoils:
                self.running_var = self.running_var * np.nan
        return Law().forward(x, gamma, beta)

    def backward(self, dy: Any, cache: Any) -> tuple[Any, Any, Any]:
        """Return dx, dgamma, dbeta."""
        return Law().backward(dy, cache)


def test_a_running_variance_that_becomes_nan_is_found() -> None:
    """After which call, in words; a right one is not named."""
    found = [f for f in audit(Sticky(spoils=True)).findings if f.code == "S08"]
    assert [f.got for f in found] == ["running_var is NaN or infinite after 1 training call"]
    assert "S08" not in codes(Sticky(spoils=False))


@dataclass(frozen=True)
class Clamped:
    """No eps: a deviation below a limit is raised to it."""

    limit: float

    def forward(self, x: Any, gamma: Any, beta: Any) -> tuple[Any, Any]:
        """Return y and the cache."""
        centred = x - x.mean(AXES, keepdims=True)
        bare = np.sqrt((centred**2).mean(AXES, keepdims=True))
        std = np.maximum(bare, self.limit)
        x_hat = centred / std
        return column(gamma) * x_hat + column(beta), (x_hat, std, bare > self.limit, column(gamma))

    def backward(self, dy: Any, cache: Any) -> tuple[Any, Any, Any]:
        """Return dx, dgamma, dbeta."""
        x_hat, std, moves, g = cache
        d = g * dy / std
        along = (d * x_hat).mean(AXES, keepdims=True) * moves
        return d - d.mean(AXES, keepdims=True) - x_hat * along, (dy * x_hat).sum(AXES), dy.sum(AXES)


@pytest.mark.parametrize("limit", [0.0, 1e-12, 1e-8, 1e-6])
def test_an_eps_that_is_rounding_is_not_measured_against(limit: float) -> None:
    """It is reported as too small to be measured, and no digits are lost beside it."""
    record = audit(Clamped(limit))
    assert record.law.startswith("biased variance, eps too small to be measured (below ")
    assert "N02" not in codes(Clamped(limit))


@pytest.mark.parametrize("eps", [1e-12, 4e-11, 1e-9, 1e-5])
def test_an_eps_that_is_there_is_told(eps: float) -> None:
    """In float64 to three digits, and beside a tiny variance in float32 too."""
    record = audit(Law(eps=eps), quick=True)
    assert record.law == f"biased variance, eps {eps:.3g} inside the root"
    subject, rng = as_subject(Law(eps=eps)), np.random.default_rng(0)
    law = exact_law(subject, recover_forward_law(subject, rng, "float32"), rng, batch=8)
    assert law is not None
    assert abs(law.statistics.eps / eps - 1) < 1e-3  # type: ignore[union-attr]
    assert law.is_known_at(1e-20)

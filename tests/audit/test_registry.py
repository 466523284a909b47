"""How objects become subjects, and that the audit knows no framework."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from audit.pairs import AXES, Law, column
from backnorm.audit import audit
from backnorm.audit.specimens.running import RunningStatistics
from backnorm.audit.subjects.registry import as_subject, subjects_of
from backnorm.audit.subjects.request import AuditRequest

BATCH = np.arange(24.0).reshape(2, 3, 2, 2) ** 2
ONES = np.ones(3)


def test_a_subject_is_a_subject() -> None:
    """A subject made by hand is taken as it is."""
    subject = as_subject(Law())
    assert subjects_of(subject, AuditRequest()) == (subject,)


def test_a_dictionary_stands_for_several_objects() -> None:
    """Each has the name that the dictionary gives it."""
    found = subjects_of({"one": Law(), "two": Law()}, AuditRequest(name="both"))
    assert [subject.name for subject in found] == ["one", "two"]


class Switched:
    """Batch normalization whose mode two methods set; in evaluation mean 0 and variance 1."""

    def __init__(self) -> None:
        self.trains = True

    def train(self) -> None:
        """Normalize."""
        self.trains = True

    def eval(self) -> None:
        """Scale and shift alone."""
        self.trains = False

    def forward(self, x: Any, gamma: Any, beta: Any) -> Any:
        """Return y and the cache."""
        if self.trains:
            return Law().forward(x, gamma, beta)
        return column(gamma) * x + column(beta), (x, column(gamma))

    def backward(self, dy: Any, cache: Any) -> Any:
        """Return dx, dgamma, dbeta."""
        if self.trains:
            return Law().backward(dy, cache)
        x, g = cache
        return g * dy, (dy * x).sum(AXES), dy.sum(AXES)


class Constructed(RunningStatistics):
    """A class which shows its mode once it is constructed."""


PAIRS_WITH_MODES = {
    "an attribute": RunningStatistics(),
    "an attribute that is set": RunningStatistics(training=False),
    "a class": Constructed,
    "two methods": Switched(),
}


@pytest.mark.parametrize("name", PAIRS_WITH_MODES)
def test_a_pair_with_modes_is_audited_in_both(name: str) -> None:
    """As a module is; or in the one that is asked for, whatever it is set to."""
    pair = PAIRS_WITH_MODES[name]
    found = subjects_of(pair, AuditRequest(modes="both", name="n"))
    assert [(one.name, one.call) for one in found] == [("n", "train"), ("n (eval)", "eval")]
    assert [audit(one, quick=True).mode for one in found] == ["batch", "frozen"]
    (chosen,) = subjects_of(pair, AuditRequest(modes="eval", name="n"))
    assert (chosen.name, chosen.call) == ("n", "eval")
    assert np.array_equal(*(one.run(BATCH, ONES, ONES, BATCH).y for one in (found[1], chosen)))


def test_a_pair_that_does_the_same_in_both_modes_is_audited_once() -> None:
    """An attribute alone makes no second mode."""
    found = subjects_of(RunningStatistics(frozen=True), AuditRequest(modes="both", name="n"))
    assert [(one.name, one.call) for one in found] == [("n", "both")]


@pytest.mark.parametrize("module", ["backnorm.audit.conduct", "backnorm.audit.specimens"])
def test_the_audit_loads_no_framework(module: str) -> None:
    """Neither a framework nor what draws tables is needed to audit a NumPy pair."""
    code = f"import sys, {module}; print(*sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    heavy = {"torch", "jax", "tensorflow", "rich", "click", "backnorm.torch", "backnorm.report"}
    assert heavy.isdisjoint(out.stdout.split())

"""y that follows x in steps: no derivative judges its gradient, in any dtype."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from backnorm.audit import audit
from backnorm.audit.measure.staircase import find_steps
from backnorm.audit.specimens.cut import MeanCut
from backnorm.audit.specimens.plain import Frozen, Plain
from backnorm.audit.subjects.registry import as_subject

if TYPE_CHECKING:
    from collections.abc import Callable

    from backnorm._types import AnyArray

ROUNDINGS: dict[str, Callable[[AnyArray], AnyArray]] = {
    "round": lambda y: np.round(y * 16) / 16,
    "floor": lambda y: np.floor(y * 16) / 16,
    "int8": lambda y: np.clip(np.round(y * 16), -128, 127).astype(np.int8).astype(y.dtype) / 16,
    "sign": np.sign,
}
"""What is done to y; the backward pass ignores it, as a straight-through gradient does."""


class Behind:
    """A pair with something behind it that its backward pass ignores."""

    def __init__(self, pair: Any, function: Callable[[AnyArray], AnyArray]) -> None:
        self.pair, self.function = pair, function

    def forward(self, x: AnyArray, gamma: AnyArray, beta: AnyArray) -> Any:
        """Return y and the cache."""
        y, cache = self.pair.forward(x, gamma, beta)
        return self.function(y), cache

    def backward(self, dy: AnyArray, cache: Any) -> Any:
        """Return dx, dgamma and dbeta."""
        return self.pair.backward(dy, cache)


@pytest.mark.sampled(3)
@pytest.mark.parametrize("pair", [Plain(), Frozen(), MeanCut()])
@pytest.mark.parametrize("name", ROUNDINGS)
def test_what_is_rounded_is_not_judged(name: str, pair: Any) -> None:
    """With statistics of the batch and with constants, whatever the gradient is."""
    record = audit(Behind(pair, ROUNDINGS[name]), quick=True)
    assert record.sound is None
    assert [finding.code for finding in record.findings] == ["G15"]
    step = 2 if name == "sign" else 0.0625
    assert record.not_judged == (
        f"y is rounded to steps of {step}: its derivative is 0 almost everywhere, and a "
        "straight-through gradient is a choice"
    )
    assert f"y in steps of {step} at " in record.findings[0].got


SMOOTH: dict[str, Callable[[AnyArray], AnyArray]] = {
    "nothing": lambda y: y,
    "relu": lambda y: np.maximum(y, 0),
    "a clamp": lambda y: np.clip(y, -0.5, 0.5),
    "float32": lambda y: y.astype(np.float32).astype(y.dtype),
}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", SMOOTH)
def test_what_only_bends_is_not_called_rounded(name: str, dtype: str) -> None:
    """Some elements do not move, and others do."""
    assert not find_steps(as_subject(Behind(Plain(), SMOOTH[name])), dtype).found


class Clamped(Behind):
    """A pair and a clamp, whose backward pass passes nothing where y is held still."""

    def backward(self, dy: AnyArray, cache: Any) -> Any:
        """Return dx, dgamma and dbeta."""
        y, cache = cache
        return self.pair.backward(dy * (self.function(y) == y), cache)

    def forward(self, x: AnyArray, gamma: AnyArray, beta: AnyArray) -> Any:
        """Return y and the cache."""
        y, cache = self.pair.forward(x, gamma, beta)
        return self.function(y), (y, cache)


CLAMPS: dict[str, Callable[[AnyArray], AnyArray]] = {
    "hardtanh": lambda y: np.clip(y, -1, 1),
    "relu6": lambda y: np.clip(y, 0, 6),
    "clamp (-0.7, 2)": lambda y: np.clip(y, -0.7, 2),
    "clamp (none, 2)": lambda y: np.minimum(y, 2),
}


@pytest.mark.sampled(3)
@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("name", CLAMPS)
@pytest.mark.parametrize(("pair", "sound"), [(Plain(), True), (Frozen(), True), (MeanCut(), False)])
def test_a_clamp_is_judged(pair: Any, sound: bool, name: str, seed: int) -> None:  # noqa: FBT001
    """Where constants hold nearly all of y at its limits, inputs are drawn at which it moves."""
    assert audit(Clamped(pair, CLAMPS[name]), quick=True, seed=seed).sound is sound


@pytest.mark.parametrize("name", ["clamp (-0.7, 2)", "clamp (none, 2)"])
def test_the_limits_of_a_clamp_are_told(name: str) -> None:
    """As an observation normalizer has them in evaluation: the law is found behind the clamp."""
    record = audit(Clamped(Frozen(), CLAMPS[name]), quick=True)
    assert (record.mode, record.through, record.law) == ("frozen", "none", "constant statistics")
    assert f"It was judged through its activation, {name}." in record.notes


def test_a_y_that_does_not_depend_on_x_is_not_judged() -> None:
    """A dx of 0 is right there, and says nothing of the layer."""
    record = audit(Clamped(Plain(), lambda y: 0 * y), quick=True)
    assert record.sound is None
    assert record.not_judged.startswith("y hardly depends on x: ")
    assert record.law == "no statistics that could be seen: y does not depend on x"
    assert [finding.code for finding in record.findings] == ["G18"]
    assert record.findings[0].got == "y changes with 0% of the elements of x"
    assert "y does not depend on x: the audit cannot tell what it normalizes with." in record.notes


@pytest.mark.parametrize("pair", [Plain(), Frozen()])
def test_a_bent_y_with_a_gradient_that_ignores_it_is_wrong(pair: Any) -> None:
    """Nothing is rounded: then the derivative judges, in both modes."""
    assert audit(Behind(pair, lambda y: y + y**2 / 8), quick=True).sound is False
    assert audit(Behind(MeanCut(), lambda y: y), quick=True).sound is False


def test_steps_of_several_sizes_have_no_number() -> None:
    """The steps of a float with 3 digits grow with y."""
    rounded = Behind(Plain(), lambda y: np.sign(y) * 2.0 ** np.round(np.log2(np.abs(y) + 1e-9)))
    assert audit(rounded, quick=True).not_judged.startswith("y is rounded to steps: its ")


def test_the_note_says_what_a_straight_through_gradient_is() -> None:
    """It is a sum of the paths; nothing is claimed of it."""
    notes = audit(Behind(Plain(), ROUNDINGS["round"]), quick=True).notes
    assert any(
        "as a straight-through gradient does: it has 1.00 of the direct path, 1.00 of the path "
        "through the mean, 1.00 of the path through the variance" in note
        for note in notes
    )

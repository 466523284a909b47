"""What a layer keeps between calls, and what its gradient is in later ones."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from audit.pairs import AXES, Law, Running
from backnorm.audit import audit
from backnorm.audit.record import NOTE_FAMILIES
from backnorm.audit.specimens.moving import Averaging, Renorm
from backnorm.audit.specimens.running import RunningStatistics, Sums
from backnorm.audit.subjects.registry import as_subject
from backnorm.host.names import state_role


def codes(pair: Any) -> list[str]:
    """Return the codes of all findings that are not notes."""
    return faults(audit(pair))


def faults(record: Any) -> list[str]:
    """Return the codes of a record's findings that are not notes."""
    return [found.code for found in record.findings if found.code[0] not in NOTE_FAMILIES]


def probe(record: Any, code: str) -> Any:
    """Return one probe of a record."""
    return next(one for one in record.probes if one.code == code)


@dataclass
class Late:
    """Evaluation uses the statistics of one update ago; or the last, where `lag` is 0."""

    lag: int = 1
    training: bool = False
    running_mean: Any = field(default_factory=lambda: np.array([0.5, -1.0, 2.0]))
    running_var: Any = field(default_factory=lambda: np.array([1.0, 0.5, 2.0]))
    past: list[Any] = field(default_factory=list)

    def forward(self, x: Any, gamma: Any, beta: Any) -> tuple[Any, Any]:
        """Return y and the cache."""
        if self.training:
            self.past.append((self.running_mean, self.running_var))
            self.running_mean = 0.9 * self.running_mean + 0.1 * x.mean(AXES)
            self.running_var = 0.9 * self.running_var + 0.1 * x.var(AXES)
        used = [*self.past, (self.running_mean, self.running_var)][-1 - self.lag :][0]
        mean, var = (a.reshape(1, -1, 1, 1) for a in used)
        inv_std = 1 / np.sqrt(var + 1e-3)
        g = gamma.reshape(1, -1, 1, 1)
        x_hat = (x - mean) * inv_std
        return g * x_hat + beta.reshape(1, -1, 1, 1), (x_hat, g * inv_std)

    def backward(self, dy: Any, cache: Any) -> tuple[Any, Any, Any]:
        """Return dx, dgamma, dbeta."""
        x_hat, slope = cache
        return slope * dy, (dy * x_hat).sum(AXES), dy.sum(AXES)


@dataclass
class Folding:
    """Evaluation leaves something, under no name of a statistic, that training then uses."""

    used: bool
    training: bool = True
    folded: float = 0.0

    def forward(self, x: Any, gamma: Any, beta: Any) -> tuple[Any, Any]:
        """Return y and the cache."""
        if not self.training:
            self.folded = float(x.mean())
        shift = 0.1 * self.folded if self.used else 0.0
        return Law().forward(x, gamma, beta + shift)

    def backward(self, dy: Any, cache: Any) -> tuple[Any, Any, Any]:
        """Return dx, dgamma, dbeta."""
        return Law().backward(dy, cache)


@dataclass
class Sticky:
    """Evaluation whose backward pass looks at the flag that training has set."""

    training: bool = False
    trained: bool = False

    def forward(self, x: Any, gamma: Any, beta: Any) -> tuple[Any, Any]:
        """Return y and the cache."""
        if self.training:
            self.trained = True
            return Law().forward(x, gamma, beta)
        g = gamma.reshape(1, -1, 1, 1)
        return g * (x - 1) + beta.reshape(1, -1, 1, 1), (
            x - 1,
            np.ones((1, 1, 1, 1)),
            1.0,
            g,
            gamma,
        )

    def backward(self, dy: Any, cache: Any) -> tuple[Any, Any, Any]:
        """Return dx, dgamma, dbeta."""
        centred, std, _, g, _ = cache
        if self.trained:
            return Law().backward(dy, cache)
        return g / std * dy, (dy * centred / std).sum(AXES), dy.sum(AXES)


@dataclass
class Counting:
    """Counts its steps by `by`; the batch size where that is 0."""

    by: int
    num_batches_tracked: int = 0

    def forward(self, x: Any, gamma: Any, beta: Any) -> tuple[Any, Any]:
        """Return y and the cache."""
        self.num_batches_tracked += self.by or len(x)
        return Law().forward(x, gamma, beta)

    def backward(self, dy: Any, cache: Any) -> tuple[Any, Any, Any]:
        """Return dx, dgamma, dbeta."""
        return Law().backward(dy, cache)


@dataclass
class OnlyOnce:
    """Cannot be called a second time."""

    calls: int = 0

    def forward(self, x: Any, gamma: Any, beta: Any) -> tuple[Any, Any]:
        """Return y and the cache."""
        self.calls += 1
        if self.calls > 1:
            message = "one call only"
            raise RuntimeError(message)
        return Law().forward(x, gamma, beta)

    def backward(self, dy: Any, cache: Any) -> tuple[Any, Any, Any]:
        """Return dx, dgamma, dbeta."""
        return Law().backward(dy, cache)


def test_evaluation_with_the_statistics_of_the_call_before_is_found() -> None:
    """The statistics move, and evaluation does, but a call behind; up to date it is right."""
    record = audit(Late())
    assert faults(record) == ["S06"]
    assert record.findings[0].got == (
        "evaluation uses running_mean of 1 call ago; evaluation uses running_var of 1 call ago"
    )
    assert codes(Late(lag=0)) == []


def test_what_evaluation_leaves_for_training_is_found() -> None:
    """By what the next call gives, whatever the state is called; what is not used is no fault."""
    record = audit(Folding(used=True))
    assert faults(record) == ["S04"]
    assert record.findings[0].got == "the next call in training gives another y or gradient"
    assert codes(Folding(used=False)) == []


@pytest.mark.parametrize(("by", "found"), [(1, []), (2, ["S03"]), (3, []), (0, [])])
def test_a_counter_that_goes_up_by_two_is_found(by: int, found: list[str]) -> None:
    """Two updates for each step; a counter of samples is none of updates."""
    assert codes(Counting(by)) == found


@pytest.mark.parametrize("momentum", [0.1, 0.5, 0.9, 0.19, (3 - 5**0.5) / 2])
def test_the_square_of_a_weight_is_no_fault_by_itself(momentum: float) -> None:
    """Whatever the weight, one update is one; for 0.38 the square of the one is the other."""
    assert codes(RunningStatistics(momentum=momentum)) == []


@pytest.mark.parametrize("momentum", [0.1, 0.5, 0.9])
def test_two_updates_for_a_known_weight_are_found(momentum: float) -> None:
    """The layer's own momentum tells what one update is."""
    assert codes(RunningStatistics(momentum=momentum, times=2)) == ["S03"]


def test_a_later_call_that_raises_is_said() -> None:
    """The gradient of the first call stands; the probes fail and tell why, and S12 says so once."""
    record = audit(OnlyOnce())
    assert record.sound
    assert [finding.code for finding in record.findings].count("S12") == 1
    for code in ("P10", "P11", "P12"):
        assert probe(record, code).result == "fail"
        assert "RuntimeError: one call only" in probe(record, code).what


def test_a_blend_that_passes_its_share_stays_sound() -> None:
    """From the second call on a tenth of both paths is right; the note says so."""
    record = audit(Averaging())
    assert (record.mode, record.through, record.sound) == ("batch", "both", True)
    assert record.notes[0] == (
        "After 30 training calls it normalizes with a blend of statistics, such as a moving "
        "average, of which 0.1 of the mean and 0.1 of the variance is computed from x, and passes "
        "0.1 of the path through the mean and 0.1 of the path through the variance. This is right."
    )


def test_a_blend_that_passes_all_is_wrong_after_one_call() -> None:
    """The record carries the verdict and the numbers of that later call."""
    record = audit(Averaging(passes=1.0))
    assert (record.mode, record.through, record.sound) == ("other", "both", False)
    assert faults(record) == ["G11"]
    assert probe(record, "P10").what == "the gradient is wrong after 1 training call"
    assert record.notes[1] == (
        "The gradient is right in the first call and wrong after 1 training call; the verdict is "
        "that on the later call."
    )


def test_a_warm_up_of_ten_calls_is_waited_for() -> None:
    """Batch renormalization begins to correct after 10 calls; that it is meant is said."""
    record = audit(Renorm(constant=True))
    assert not record.sound
    assert probe(record, "P10").what == "the gradient is wrong after 30 training calls"
    assert any("as batch renormalization does by design" in note for note in record.notes)
    assert audit(Renorm(constant=False)).sound


def test_evaluation_is_judged_after_training_too() -> None:
    """Frozen with its own gradient at first; with training's gradient once it has been trained."""
    record = audit(Sticky())
    assert (record.mode, record.sound) == ("frozen", False)
    assert faults(record) == ["G04"]
    assert probe(record, "P10").what == "the gradient is wrong after 30 training calls"


@pytest.mark.parametrize(
    "pair", [Running(), RunningStatistics(training=False), Sums(training=False), Law()]
)
def test_what_moves_with_each_call_may_be_right(pair: Any) -> None:
    """Later calls, the state and what evaluation uses are in order."""
    record = audit(pair)
    assert record.clean
    assert [one.code for one in record.probes if one.result == "fail"] in ([], ["P61"])


@pytest.mark.parametrize(("training", "call"), [(True, "train"), (False, "eval"), (None, None)])
def test_a_pair_says_which_mode_it_is_in(training: bool | None, call: str | None) -> None:  # noqa: FBT001
    """By its attribute, where it has one."""
    pair: Any = Law() if training is None else RunningStatistics(training=training)
    assert as_subject(pair).call == call


@pytest.mark.parametrize(
    ("name", "role"),
    [
        ("bn.running_mean", "running_mean"),
        ("moving_variance", "running_var"),
        ("num_batches_tracked", "count"),
        ("momentum", "momentum"),
        ("mean", ""),
        ("last_dgamma", ""),
    ],
)
def test_names_of_state_have_roles(name: str, role: str) -> None:
    """A bare "mean" may be the batch's: only its law can tell."""
    assert state_role(name) == role

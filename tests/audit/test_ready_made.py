"""Ready-made subjects: state, modes, name and version, in ten lines."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest

from backnorm.audit import audit
from backnorm.audit.subjects.registry import as_subject, subjects_of
from backnorm.audit.subjects.request import AuditRequest

EPS = 1e-5


class Keeping:
    """A runner with running statistics and two modes."""

    def __init__(self) -> None:
        self.training = True
        self.mean, self.var = np.array([0.5, -1.0, 2.0]), np.array([1.0, 0.5, 2.0])

    def run(self, x: Any, gamma: Any, beta: Any, dy: Any) -> Any:
        """Return y and the gradients."""
        mean, var = (x.mean(0), x.var(0)) if self.training else (self.mean, self.var)
        inv_std = 1 / np.sqrt(var + EPS)
        x_hat = (x - mean) * inv_std
        through = dy - dy.mean(0) - x_hat * (dy * x_hat).mean(0) if self.training else dy
        y, dgamma = gamma * x_hat + beta, (dy * x_hat).sum(0)
        return {"y": y, "dx": gamma * inv_std * through, "dgamma": dgamma, "dbeta": dy.sum(0)}

    def forward(self, x: Any, gamma: Any, beta: Any) -> Any:
        """Return y."""
        return self.run(x, gamma, beta, x)["y"]

    def state(self) -> Any:
        """Return the running statistics."""
        return {"running_mean": self.mean, "running_var": self.var}

    def after(self, steps: Any) -> Any:
        """Return what trained, or evaluated, so often."""
        new = copy.deepcopy(self)
        for x, _, _, _, train in steps:
            if train:
                new.mean = 0.9 * new.mean + 0.1 * x.mean(0)
                new.var = 0.9 * new.var + 0.1 * x.var(0, ddof=1)
        return new


class MySubject:
    """All that has no default."""

    sample_shape, runner, version = (3,), Keeping(), "1.2.3"


class Stuck(Keeping):
    """Training changes nothing."""

    def after(self, _: Any) -> Any:
        """Return the same."""
        return self


class StuckSubject:
    """A subject whose running statistics do not move."""

    sample_shape, runner = (3,), Stuck()


@pytest.mark.parametrize("candidate", [MySubject, MySubject()], ids=["a class", "an object"])
def test_a_subject_has_modes_state_name_and_version(candidate: Any) -> None:
    """It is audited in both modes, its running law is found, and its name is its class's."""
    train, evaluate = subjects_of(candidate, AuditRequest(modes="both"))
    assert (train.name, evaluate.name) == ("MySubject", "MySubject (eval)")
    records = [audit(one) for one in (train, evaluate)]
    assert [record.mode for record in records] == ["batch", "frozen"]
    assert all(record.clean for record in records), [r.findings for r in records]
    assert "0.1" in records[0].state
    assert "Its version is 1.2.3." in records[0].notes
    results = {probe.code: probe.result for probe in records[0].probes}
    assert (results["P11"], results["P12"]) == ("pass", "pass")


def test_a_fault_of_its_state_is_found() -> None:
    """Its state is looked at, not only asked for."""
    record = audit(StuckSubject)
    assert "S02" in {found.code for found in record.findings}


def test_a_subject_that_says_its_mode_keeps_it() -> None:
    """`call` names the mode in which its runner is."""

    class Frozen:
        sample_shape, runner, call = (3,), Keeping(), "train"

    assert [one.call for one in subjects_of(Frozen, AuditRequest(modes="both"))] == ["train"]


def test_the_modes_of_a_subject_are_those_asked_for() -> None:
    """As for a pair; and the runner that was passed stays as it is."""
    (one,) = subjects_of(MySubject, AuditRequest(modes="eval", name="n"))
    assert (one.name, one.call) == ("n", "eval")
    assert MySubject.runner.training


class Bare:
    """A pair that fails without gamma, so badly that nobody may try."""

    tried = 0

    @staticmethod
    def forward(x: Any, gamma: Any, beta: Any) -> Any:
        """Normalize."""
        Bare.tried += gamma is None
        inv_std = 1 / np.sqrt(x.var(0) + EPS)
        x_hat = (x - x.mean(0)) * inv_std
        return gamma * x_hat + beta, (x_hat, gamma * inv_std)

    @staticmethod
    def backward(dy: Any, cache: Any) -> Any:
        """Go through both statistics."""
        x_hat, slope = cache
        dx = slope * (dy - dy.mean(0) - x_hat * (dy * x_hat).mean(0))
        return dx, (dy * x_hat).sum(0), dy.sum(0)


class WithDefaults(Bare):
    """A pair that has values for them."""

    @staticmethod
    def forward(x: Any, gamma: Any = None, beta: Any = None) -> Any:
        """Normalize."""
        Bare.tried += gamma is None
        scale, shift = (1.0, 0.0) if gamma is None else (gamma, beta)
        inv_std = 1 / np.sqrt(x.var(0) + EPS)
        x_hat = (x - x.mean(0)) * inv_std
        return scale * x_hat + shift, (x_hat, scale * inv_std)


@pytest.mark.parametrize(("pair", "optional"), [(Bare, False), (WithDefaults, True)])
def test_no_gamma_is_tried_only_where_it_is_optional(pair: Any, optional: bool) -> None:  # noqa: FBT001
    """By the default of the argument, or by its annotation."""
    Bare.tried = 0
    record = audit(pair)
    told = next(probe.what for probe in record.probes if probe.code == "P43")
    assert record.clean
    assert ("no gamma and beta given" in told) == optional
    assert (Bare.tried > 0) == optional
    assert as_subject(pair).optional == optional


def test_an_annotation_makes_gamma_optional() -> None:
    """As in the engine's own pairs."""

    class Annotated(Bare):
        def forward(self, x: Any, gamma: Any | None, beta: float | None) -> Any:  # type: ignore[override]
            return Bare.forward(x, gamma, beta)

    assert as_subject(Annotated()).optional


class OnlyRows:
    """Takes (N, C) alone, and has a mistake there; other shapes are refused in the usual words."""

    @staticmethod
    def forward(x: Any, gamma: Any, beta: Any) -> Any:  # noqa: ARG004
        """Refuse, or fail."""
        if x.ndim != 2:
            message = f"expected 2D input (got {x.ndim}D input)"
            raise ValueError(message)
        return undefined  # type: ignore[name-defined]  # noqa: F821

    backward = staticmethod(Bare.backward)


class FailsBackward(OnlyRows):
    """The mistake is in the backward pass: there the subject came furthest."""

    @staticmethod
    def forward(x: Any, gamma: Any, beta: Any) -> Any:
        """Refuse, or normalize."""
        return Bare.forward(x, gamma, beta) if x.ndim == 2 else OnlyRows.forward(x, gamma, beta)

    @staticmethod
    def backward(*_: Any) -> Any:
        """Fail, in words that speak of a shape."""
        message = "shapes of dy differ"
        raise ValueError(message)


class RefusesAll(OnlyRows):
    """Refuses all shapes, most of them for the same reason."""

    @staticmethod
    def forward(x: Any, gamma: Any, beta: Any) -> Any:  # noqa: ARG004
        """Refuse."""
        message = "wrong number of channels" if x.ndim != 4 else "expected 3D input"
        raise ValueError(message)


TRUE_ERRORS = {
    "a mistake": (OnlyRows, "NameError: name 'undefined' is not defined"),
    "a mistake in the backward pass": (FailsBackward, "ValueError: shapes of dy differ"),
    "a refusal": (RefusesAll, "ValueError: wrong number of channels"),
}


@pytest.mark.parametrize("name", TRUE_ERRORS)
def test_where_no_shape_runs_the_true_error_is_told(name: str) -> None:
    """Not that of the first shape that was tried."""
    pair, got = TRUE_ERRORS[name]
    (found,) = audit(pair).findings
    assert (found.code, found.got) == ("G20", got)


class Shifting(Keeping):
    """A third parameter, whose gradient is `share` of what it must be."""

    def __init__(self, share: float) -> None:
        """Set the share."""
        super().__init__()
        self.share, self.shift = share, np.array([0.5, -1.0, 2.0])

    def run(self, x: Any, gamma: Any, beta: Any, dy: Any) -> Any:
        """Return y and the gradients."""
        return super().run(x, gamma, beta + self.shift, dy)

    def others(self, x: Any, gamma: Any, beta: Any, dy: Any, moved: Any) -> Any:
        """Return y, and the value and the gradient of the third parameter."""
        new = copy.deepcopy(self)
        new.shift = self.shift + moved.get("shift", 0.0)
        gradients = {} if dy is None else {"shift": self.share * dy.sum(0)}
        return {
            "y": new.forward(x, gamma, beta),
            "values": {"shift": new.shift},
            "gradients": gradients,
        }


@pytest.mark.parametrize(("share", "codes"), [(1.0, ()), (0.5, ("G19",))])
def test_the_gradients_of_other_parameters_are_compared(share: float, codes: Any) -> None:
    """A runner that has `others` need not say so elsewhere."""

    class Subject(MySubject):
        runner = Shifting(share)

    record = audit(Subject, quick=True)
    assert tuple(finding.code for finding in record.findings) == codes
    assert record.sound is (share == 1.0)

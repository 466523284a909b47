"""What calls a NumPy pair: its state, its modes, and the dtypes that it takes."""

from __future__ import annotations

from typing import Any

import numpy as np

from audit.pairs import Law, Running
from backnorm.audit import audit
from backnorm.audit.measure.inputs import draw_inputs
from backnorm.audit.specimens.digits import AllInHalf
from backnorm.audit.specimens.orders import ThreeOrders
from backnorm.audit.subjects.registry import as_subject
from backnorm.audit.subjects.runner import Step


def test_a_pair_is_followed_over_calls() -> None:
    """Its running mean halves the way to the batch's in each call; the pair itself stays."""
    subject = as_subject(Running())
    runner, one = subject.runner, draw_inputs(subject, np.random.default_rng(1), "float64", batch=5)
    step = Step(one.x, one.gamma, one.beta, one.dy)
    mean = runner.after([step, step]).state()["mean"]
    want = 0.75 * one.x.mean((0, 2, 3), keepdims=True)
    assert np.abs(mean - want).max() < 1e-12
    assert runner.state() == {"mean": 0.0}
    assert list(runner.attached()) == []


def test_a_runner_says_what_it_can() -> None:
    """A pair has no framework that could differentiate it, and no variants but those it names."""
    can = [as_subject(pair).runner.can for pair in (Law(), ThreeOrders, AllInHalf)]
    always = {"state", "traces", "overlapped"}
    assert can == [always, always | {"higher"}, always | {"float16"}]


def test_a_pair_is_run_in_the_half_dtypes_that_it_names() -> None:
    """Its own arrays are float16; those that come and go are float32."""
    half = as_subject(AllInHalf).runner.variant("float16")
    x = np.array([[1.0], [3.0]], np.float32).reshape(2, 1, 1, 1)
    one, zero = np.ones(1, np.float32), np.zeros(1, np.float32)
    run = half.run(x, one / 3, zero, x)
    third = np.float32(np.float16(1 / 3))
    assert run.y.dtype == run.dx.dtype == np.float32
    assert run.y.ravel().tolist() == [-third, third]
    assert half.forward(x, one / 3, zero).dtype == np.float32


class TwoArguments:
    """RMS normalization without a place for beta."""

    kind = "rms"

    @staticmethod
    def forward(x: Any, gamma: Any) -> Any:
        """Return y and the cache."""
        inv = 1 / np.sqrt((x * x).mean(-1, keepdims=True) + 1e-6)
        return x * inv * gamma, (x * inv, inv, gamma)

    @staticmethod
    def backward(dy: Any, cache: Any) -> Any:
        """Return dx and dgamma."""
        x_hat, inv, gamma = cache
        d = dy * gamma
        dx = inv * (d - x_hat * (d * x_hat).mean(-1, keepdims=True))
        return dx, (dy * x_hat).reshape(-1, len(gamma)).sum(0)


def test_a_pair_without_beta_needs_no_place_for_it() -> None:
    """Neither among the arguments of forward, nor among the gradients, in every probe."""
    record = audit(TwoArguments)
    assert record.clean
    assert all("raised" not in probe.what for probe in record.probes)

"""What runners offer beyond the two passes: state, higher derivatives, variants."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from backnorm.audit.measure.inputs import draw_inputs  # noqa: E402
from backnorm.audit.subjects.registry import as_subject  # noqa: E402
from backnorm.audit.subjects.runner import Step  # noqa: E402


class Holding(torch.nn.Module):  # type: ignore[misc]
    """Its running mean is left with the graph of the batch."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("running_mean", torch.zeros(4))

    def forward(self, x: Any) -> Any:
        """Subtract the mean."""
        mean = x.mean((0, 2, 3))
        self.running_mean = 0.9 * self.running_mean + 0.1 * mean
        return x - mean.reshape(1, -1, 1, 1)


def drawn(module: Any) -> tuple[Any, Any]:
    """Return the runner of a module, and a draw for it in float64."""
    subject = as_subject(module)
    return subject.runner, draw_inputs(subject, np.random.default_rng(1), "float64", batch=5)


def test_the_state_after_calls_follows_the_running_law() -> None:
    """One call moves the running mean by a tenth; the runner it started from stays as it was."""
    runner, one = drawn(torch.nn.BatchNorm2d(4))
    before = runner.state()
    after = runner.after([Step(one.x, one.gamma, one.beta)]).state()
    want = 0.9 * before["running_mean"] + 0.1 * one.x.mean((0, 2, 3))
    assert np.abs(after["running_mean"] - want).max() < 1e-12
    assert after["num_batches_tracked"] == before["num_batches_tracked"] + 1
    assert all(np.array_equal(v, before[name]) for name, v in runner.state().items())


def test_a_step_in_evaluation_changes_nothing() -> None:
    """The mode of a step is its own, and the runner keeps its mode."""
    runner, one = drawn(torch.nn.BatchNorm2d(4))
    after = runner.after([Step(one.x, one.gamma, one.beta, train=False)])
    assert all(np.array_equal(v, runner.state()[name]) for name, v in after.state().items())
    assert np.array_equal(
        after.forward(one.x, one.gamma, one.beta), runner.forward(one.x, one.gamma, one.beta)
    )


def test_a_graph_in_the_state_is_named() -> None:
    """It is cut off, so that more calls can be made, and said to have been there."""
    runner, one = drawn(Holding())
    assert runner.attached() == []
    assert runner.after([Step(one.x, None, None, one.dy)] * 2).attached() == ["running_mean"]


def test_the_second_order_is_the_slope_of_the_first() -> None:
    """sum(v*dx) differentiated by x is the change of dx along v, as the Hessian is symmetric."""
    runner, one = drawn(torch.nn.BatchNorm2d(4))
    v = np.random.default_rng(2).standard_normal(one.x.shape)
    got = runner.higher(one.x, one.gamma, one.beta, one.dy, [v])["x"]
    step = 1e-5
    up, down = (
        runner.run(one.x + sign * step * v, one.gamma, one.beta, one.dy).dx for sign in (1, -1)
    )
    want = (up - down) / (2 * step)
    assert np.abs(got - want).max() < 1e-6 * np.abs(want).max()


def test_variants_run_as_they_are_asked_to() -> None:
    """bfloat16 rounds y to 8 bits; without a gradient for x those of gamma and beta stay."""
    runner, one = drawn(torch.nn.BatchNorm2d(4))
    plain = runner.run(one.x, one.gamma, one.beta, one.dy)
    rest = runner.variant(needs_dx=False).run(one.x, one.gamma, one.beta, one.dy)
    assert not rest.dx.any()
    assert np.abs(rest.dgamma - plain.dgamma).max() < 1e-10 * np.abs(plain.dgamma).max()
    y = runner.variant("bfloat16").forward(one.x, one.gamma, one.beta)
    off = np.abs(y - plain.y).max() / np.abs(plain.y).max()
    assert 1e-4 < off < 1e-1

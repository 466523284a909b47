"""Layers of other frameworks are followed over calls, and their gradients differentiated."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from backnorm.audit import audit
from backnorm.audit.measure.inputs import draw_inputs
from backnorm.audit.subjects.registry import layers_of, subjects_of
from backnorm.audit.subjects.request import AuditRequest
from backnorm.audit.subjects.runner import Step
from backnorm.host.names import state_role
from dialects.layers import same_law

if TYPE_CHECKING:
    from backnorm.audit.record import Record

pytest.importorskip("jax", reason="JAX is not installed; make test-frameworks has it")

PLAIN = same_law("keras")
COUNTED = f"grows by 1. Dialects with this law: {same_law('haiku')}."

STATES = {
    # framework, layer: what is said of its running statistics
    ("flax", "flax.linen.BatchNorm"): f"0.01*biased variance. Dialects with this law: {PLAIN}.",
    ("flax", "flax.nnx.BatchNorm"): f"0.01*biased variance. Dialects with this law: {PLAIN}.",
    ("haiku", "haiku.BatchNorm"): COUNTED,
    ("equinox", "equinox.nn.BatchNorm, mode=batch"): COUNTED,
    ("equinox", "equinox.nn.BatchNorm, mode=ema"): (
        "running_var = 0.99*running_var + 0.01*biased variance."
    ),
    ("keras", "keras.layers.BatchNormalization"): (
        f"0.01*biased variance. Dialects with this law: {PLAIN}."
    ),
}
FOLLOWED = ("P10", "P11", "P12", "P30", "P31")


def examined(framework: str, name: str) -> Record:
    """Audit one layer in training."""
    pytest.importorskip(framework, reason=f"{framework} is not installed")
    (subject,) = (s for s in layers_of(framework, "train") if s.name.partition(" on ")[0] == name)
    return audit(subject)


def results(record: Record) -> dict[str, str]:
    """What came of the probes that follow a layer and differentiate its gradient."""
    return {p.code: p.result for p in record.probes if p.code in FOLLOWED}


@pytest.mark.sampled(2)
@pytest.mark.parametrize(("framework", "name"), STATES)
def test_running_statistics_and_higher_derivatives_are_in_order(framework: str, name: str) -> None:
    """The law with the dialects that have it; all orders are right, and so are later calls."""
    record = examined(framework, name)
    assert record.sound
    assert results(record) == dict.fromkeys(FOLLOWED, "pass")
    assert STATES[framework, name] in record.state
    # They lose digits in float32, and all of y at a large mean.
    assert {f.code for f in record.findings if f.code[0] != "N"} <= {"I07"}


@pytest.mark.parametrize("framework", sorted({framework for framework, _ in STATES}))
def test_evaluation_is_followed(framework: str) -> None:
    """It changes nothing, and uses what training leaves."""
    pytest.importorskip(framework, reason=f"{framework} is not installed")
    subject = layers_of(framework, "eval")[0]
    record = audit(subject)
    assert (record.mode, record.sound) == ("frozen", True)
    assert results(record) == dict.fromkeys(FOLLOWED, "pass")
    assert "biased variance" in record.state


@pytest.mark.thorough
def test_layers_that_keep_nothing_are_followed_too() -> None:
    """There is nothing to find, and no running law."""
    record = examined("flax", "flax.linen.LayerNorm")
    assert results(record) == {**dict.fromkeys(FOLLOWED, "pass"), "P11": "skipped"}


def test_a_layer_of_several_keeps_the_state_of_each() -> None:
    """The second of a name has a number, and the role of the first."""
    keras = pytest.importorskip("keras", reason="Keras is not installed")

    class Twice(keras.layers.Layer):  # type: ignore[misc]
        """Normalizes twice."""

        def __init__(self, **more: Any) -> None:
            super().__init__(**more)
            self.norms = [keras.layers.BatchNormalization() for _ in range(2)]

        def build(self, shape: Any) -> None:
            """Build both."""
            for norm in self.norms:
                norm.build(shape)

        def call(self, x: Any, training: bool = False) -> Any:  # noqa: FBT001, FBT002 - Keras's own
            """Normalize."""
            for norm in self.norms:
                x = norm(x, training=training)
            return x

    (subject,) = subjects_of(Twice, AuditRequest(kind="batch", modes="train"))
    names = list(subject.runner.state())
    assert names == ["moving_mean", "moving_variance", "2.moving_mean", "2.moving_variance"]
    assert [state_role(name) for name in names] == ["running_mean", "running_var"] * 2
    one = draw_inputs(subject, np.random.default_rng(0), "float32", batch=4)
    after = subject.runner.after([Step(one.x, one.gamma, one.beta)]).state()
    assert not any(np.array_equal(after[name], subject.runner.state()[name]) for name in names)


def test_a_parameter_of_nnx_may_have_the_name_of_the_input() -> None:
    """Gamma, beta and the state alone are given to a layer by name."""
    nnx = pytest.importorskip("flax.nnx", reason="Flax is not installed")

    class Shifted(nnx.Module):  # type: ignore[misc]
        """Adds something to x first."""

        def __init__(self) -> None:
            self.x = nnx.Param(np.arange(4, dtype=np.float32))
            self.norm = nnx.BatchNorm(4, rngs=nnx.Rngs(0))

        def __call__(self, x: Any) -> Any:
            """Normalize."""
            return self.norm(x + self.x)

    (subject,) = subjects_of(Shifted(), AuditRequest(kind="batch", modes="train"))
    record = audit(subject, quick=True)
    assert (record.through, record.sound) == ("both", True)


def test_tinygrad_detaches_the_mean_within_the_variance() -> None:
    """That is right at the first order, and wrong at the second."""
    if not shutil.which("clang"):
        pytest.skip("tinygrad compiles with clang, which is not installed")
    record = examined("tinygrad", "tinygrad.nn.BatchNorm")
    assert (record.sound, [f.code for f in record.findings if f.code[0] in "DIS"]) == (
        True,
        ["D02"],
    )
    assert f"Dialects with this law: {same_law('tinygrad')}." in record.state

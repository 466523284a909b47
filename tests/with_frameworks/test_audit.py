"""The audit of the frameworks' own normalization layers: all of them, each in the modes it has."""

from __future__ import annotations

import json
import shutil
from importlib import metadata
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from backnorm.audit import audit
from backnorm.audit.subjects.registry import layers_of
from backnorm.cli import main
from backnorm.host.calls import tinygrad

pytest.importorskip("jax", reason="JAX is not installed; make test-frameworks has it")

LAYERS = {
    # framework: through what each of its subjects goes; evaluation goes through nothing
    "jax": ["both"],
    "flax": ["both", "none", "both", "none", *["both"] * 8],
    "haiku": ["both", "none", *["both"] * 4],
    "equinox": ["both", "none", "both", "none", *["both"] * 3],
    "keras": ["both", "none", *["both"] * 4],
    "tinygrad": ["both", "none", *["both"] * 5],
}


def imported(framework: str) -> Any:
    """Return the module of a framework that is installed, with what it needs to run."""
    if framework == "tinygrad" and not shutil.which("clang"):
        pytest.skip("tinygrad compiles with clang, which is not installed")
    return pytest.importorskip(framework, reason=f"{framework} is not installed")


def test_a_blend_of_running_and_batch_statistics_passes_its_share() -> None:
    """Equinox's mode="ema" normalizes with a hundredth of the batch's after many steps."""
    pytest.importorskip("equinox", reason="Equinox is not installed")
    blends = [s for s in layers_of("equinox", "train") if "mode=ema" in s.name]
    (record,) = (audit(blend, quick=True) for blend in blends)
    assert record.sound
    assert record.coefficients.mean == pytest.approx(0.01, abs=1e-4)
    assert record.coefficients.variance == pytest.approx(0.01, abs=1e-4)


@pytest.mark.parametrize("framework", LAYERS)
def test_one_command_audits_a_framework(framework: str) -> None:
    """All layers, each sound and through what it should be; the framework's version beside them."""
    module = imported(framework)
    # tinygrad compiles a program for each shape: a quarter of a minute a layer on a slow machine.
    command = ["audit", framework, "--quick", "--limit", "300", "--json", "-"]
    result = CliRunner().invoke(main, command)
    document = json.loads(result.stdout)
    assert result.exit_code == 0
    assert [target["through"] for target in document["targets"]] == LAYERS[framework]
    assert [target["target"] for target in document["targets"] if not target["sound"]] == []
    version = getattr(module, "__version__", None) or metadata.version(framework)
    assert document["environment"][framework] == version


def test_keras_is_audited_on_the_backend_that_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """KERAS_BACKEND chooses one."""
    pytest.importorskip("keras", reason="Keras is not installed")
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    result = CliRunner().invoke(main, ["audit", "keras", "--quick", "--json", "-"])
    names = [target["target"] for target in json.loads(result.stdout)["targets"]]
    assert [name for name in names if "on jax" not in name] == []
    assert len(names) == len(LAYERS["keras"])


def test_keras_is_audited_on_every_installed_backend(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where KERAS_BACKEND says nothing, one command audits all layers on both."""
    pytest.importorskip("keras", reason="Keras is not installed")
    monkeypatch.delenv("KERAS_BACKEND", raising=False)
    result = CliRunner().invoke(main, ["audit", "keras", "--quick", "--json", "-"])
    targets = json.loads(result.stdout)["targets"]
    for backend in ("jax", "torch"):
        got = [
            t["through"] for t in targets if t["target"].partition(" on ")[2].startswith(backend)
        ]
        assert got == LAYERS["keras"]
    assert len(targets) == 2 * len(LAYERS["keras"])
    assert (result.exit_code, [t["target"] for t in targets if not t["sound"]]) == (0, [])


def test_layers_of_tinygrad_give_from_a_record_what_they_compute() -> None:
    """In the third call, which runs what the second recorded, on values that neither has seen."""
    imported("tinygrad")

    subjects = layers_of("tinygrad", "both")
    assert len(subjects) == 7
    rng = np.random.default_rng(0)
    for subject in subjects:
        runner = subject.runner.inner
        assert runner.differentiate is tinygrad._replayed
        shape = (5, subject.parameter_shape[0]) if subject.kind in ("layer", "rms") else (5, 4, 3)
        for _ in range(3):
            leaves = {"x": rng.standard_normal(shape, dtype=np.float32)}
            dy = rng.standard_normal(shape, dtype=np.float32)
            parameters = {"gamma": subject.has_gamma, "beta": subject.has_beta}
            for role in (name for name, has in parameters.items() if has):
                leaves[role] = rng.standard_normal(subject.parameter_shape, dtype=np.float32)
            state = {k: v.astype(np.float32) for k, v in runner.state().items()}
            y, found = runner.differentiate(runner.call, leaves, state, dy)
            again, direct = tinygrad.differentiate(runner.call, leaves, state, dy)
        assert np.array_equal(y, again), subject.name
        for role in leaves:
            assert np.array_equal(found[role], direct[role]), (subject.name, role)

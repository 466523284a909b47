"""The audit of the frameworks' own normalization layers: all of them, each in the modes it has."""

from __future__ import annotations

import json
import os
import shutil
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from backnorm.audit import audit
from backnorm.audit.subjects.registry import layers_of
from backnorm.cli import main
from backnorm.host.calls import FRAMEWORKS, tinygrad

pytest.importorskip("jax", reason="JAX is not installed; make test-frameworks has it")


def _documented() -> dict[str, dict[str, str]]:
    """For each framework that docs/frameworks.md has audited in this interpreter, its layers.

    And through what the gradient of each goes.
    """
    text = PAGE.read_text(encoding="utf-8")
    layers = {}
    for framework in FRAMEWORKS:
        section = text.partition(f"\n## {framework}\n")[2].partition("\n## ")[0]
        if section and "--python" not in section:
            lines = [line for line in section.splitlines() if line.startswith("|")]
            head, _, *rows = [[c.strip() for c in line[1:-1].split("|")] for line in lines]
            name, through = head.index("layer"), head.index("through")
            layers[framework] = {row[name]: row[through] for row in rows}
    return layers


PAGE = Path(__file__).parents[2] / "docs" / "frameworks.md"
LAYERS = _documented()


def on_backend(backend: str) -> dict[str, str]:
    """Keras's layers on one backend."""
    return {name: through for name, through in LAYERS["keras"].items() if f" on {backend}" in name}


def expected(framework: str) -> dict[str, str]:
    """A framework's layers; of Keras those on the backend that KERAS_BACKEND asks for."""
    backend = os.environ.get("KERAS_BACKEND")
    return on_backend(backend) if framework == "keras" and backend else LAYERS[framework]


def throughs(document: dict[str, Any]) -> dict[str, str]:
    """Through what the gradient of each layer goes."""
    return {target["target"]: target["through"] for target in document["targets"]}


def imported(framework: str) -> Any:
    """Return the module of a framework that is installed, with what it needs to run."""
    if framework == "tinygrad" and not shutil.which("clang"):
        pytest.skip("tinygrad compiles with clang, which is not installed")
    return pytest.importorskip(framework, reason=f"{framework} is not installed")


@pytest.mark.thorough
def test_a_blend_of_running_and_batch_statistics_passes_its_share() -> None:
    """Equinox's mode="ema" normalizes with a hundredth of the batch's after many steps."""
    pytest.importorskip("equinox", reason="Equinox is not installed")
    blends = [s for s in layers_of("equinox", "train") if "mode=ema" in s.name]
    assert len(blends) == 2, "theirs and ours"
    for record in (audit(blend, quick=True) for blend in blends):
        assert record.sound
        assert record.coefficients.mean == pytest.approx(0.01, abs=1e-4)
        assert record.coefficients.variance == pytest.approx(0.01, abs=1e-4)


# tests/with_torch has PyTorch. With --every the first one runs, which has the fewest layers.
@pytest.mark.parametrize(
    "framework", sorted(set(LAYERS) - {"torch"}, key=lambda name: (len(LAYERS[name]), name))
)
def test_one_command_audits_a_framework(framework: str) -> None:
    """All layers of its page, each sound and through what the page says, and its version."""
    module = imported(framework)
    # tinygrad compiles a program for each shape: a quarter of a minute a layer on a slow machine.
    command = ["audit", framework, "--quick", "--limit", "300", "--json", "-"]
    result = CliRunner().invoke(main, command)
    document = json.loads(result.stdout)
    assert result.exit_code == 0
    assert throughs(document) == expected(framework)
    assert [target["target"] for target in document["targets"] if not target["sound"]] == []
    version = getattr(module, "__version__", None) or metadata.version(framework)
    assert document["environment"][framework] == version


def test_keras_is_audited_on_the_backend_that_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """KERAS_BACKEND chooses one."""
    pytest.importorskip("keras", reason="Keras is not installed")
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    result = CliRunner().invoke(main, ["audit", "keras", "--quick", "--json", "-"])
    assert throughs(json.loads(result.stdout)) == on_backend("jax")


def test_keras_is_audited_on_every_installed_backend(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where KERAS_BACKEND says nothing, one command audits all layers on both."""
    pytest.importorskip("keras", reason="Keras is not installed")
    monkeypatch.delenv("KERAS_BACKEND", raising=False)
    result = CliRunner().invoke(main, ["audit", "keras", "--quick", "--json", "-"])
    targets = json.loads(result.stdout)["targets"]
    assert throughs(json.loads(result.stdout)) == LAYERS["keras"]
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


JITTED = """
import functools
import jax
from jax import numpy as jnp

def plain(x, scale, bias):
    return (x - x.mean(0)) / jnp.sqrt(x.var(0) + 1e-5) * scale + bias

def cut(x, scale, bias):
    return (x - jax.lax.stop_gradient(x.mean(0))) / jnp.sqrt(x.var(0) + 1e-5) * scale + bias

def moded(x, scale, bias, training=True):
    return plain(x, scale, bias) if training else x * scale + bias

jitted, jitted_cut, checkpointed = jax.jit(plain), jax.jit(cut), jax.checkpoint(plain)
jitted_moded = jax.jit(moded, static_argnames=("training",))
"""

WRAPPED = {
    "jitted": [("both", True)],
    "jitted_cut": [("variance", False)],
    "checkpointed": [("both", True)],
    "jitted_moded": [("both", True), ("none", True)],
}


@pytest.mark.parametrize("name", WRAPPED)
def test_a_function_that_jax_has_wrapped_is_taken(name: str, tmp_path: Path) -> None:
    """Its arguments are those of the function inside."""
    file = tmp_path / "wrapped.py"
    file.write_text(JITTED)
    result = CliRunner().invoke(main, ["audit", f"{file}:{name}", "--quick", "--json", "-"])
    targets = json.loads(result.stdout)["targets"]
    assert [(one["through"], one["sound"]) for one in targets] == WRAPPED[name]

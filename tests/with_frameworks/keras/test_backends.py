"""Keras's layer on each backend: Keras takes one for a process, so that each has its own."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

if importlib.util.find_spec("keras") is None:  # it cannot be imported without its backend
    pytest.skip("Keras is not installed; make test-frameworks has it", allow_module_level=True)

CASES = Path(__file__).with_name("on_a_backend.py")

ENVIRONMENT = {
    "JAX_PLATFORMS": "cpu",
    "XLA_FLAGS": "--xla_force_host_platform_device_count=2",
}


def test_the_layer_on_jax(request: pytest.FixtureRequest) -> None:
    """With two devices."""
    run_cases("jax", request.config)


def test_float64_on_jax(request: pytest.FixtureRequest) -> None:
    """A process has it in all of JAX or nowhere."""
    run_cases("jax", request.config, only="float64", JAX_ENABLE_X64="1")


def test_the_layer_on_torch(request: pytest.FixtureRequest) -> None:
    """One test for each, so that `--every` leaves none out."""
    run_cases("torch", request.config)


def run_cases(backend: str, config: pytest.Config, *, only: str = "", **variables: str) -> None:
    """Run on_a_backend.py on a backend, or some of its tests, with more environment variables."""
    pytest.importorskip(backend)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:randomly", "-p", "no:xdist", CASES]
    command += [f"--every={config.getoption('--every')}"]
    command += ["--thorough"] * bool(config.getoption("--thorough"))
    command += ["-k", only]
    ran = subprocess.run(
        command,
        env={**os.environ, **ENVIRONMENT, "KERAS_BACKEND": backend, **variables},
        capture_output=True,
        check=False,
        text=True,
        cwd=CASES.parents[3],
    )
    assert ran.returncode == 0, ran.stdout[-4000:] + ran.stderr[-2000:]


def test_another_backend_is_refused() -> None:
    """In words, before anything of it is used."""
    code = "import backnorm.keras"
    environment = {**os.environ, "KERAS_BACKEND": "numpy"}
    ran = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, check=False, text=True
    )
    assert "backnorm.keras does not support the backend numpy of Keras." in ran.stderr
    assert ran.returncode == 1

"""Several devices: JAX counts them when it starts, so each test starts a process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("jax")

HERE = Path(__file__).parent
CASES = [HERE / "on_devices.py", HERE / "exact_on_devices.py"]


def test_batches_on_several_devices() -> None:
    """Four devices of the host; the cases are in on_devices.py and exact_on_devices.py."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:randomly", "-p", "no:xdist", *CASES]
    flags = "--xla_force_host_platform_device_count=4"
    environment = {**os.environ, "XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"}
    ran = subprocess.run(
        command, env=environment, capture_output=True, check=False, text=True, cwd=HERE.parents[2]
    )
    assert ran.returncode == 0, ran.stdout[-4000:] + ran.stderr[-2000:]

"""The device of JAX: a second one of the CPU, and one that is not there."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

pytest.importorskip("jax", reason="JAX is not installed; make test-frameworks has it")

TWO = {"XLA_FLAGS": "--xla_force_host_platform_device_count=2", "JAX_PLATFORMS": "cpu"}

WHERE = """
import numpy as np
from backnorm.host.calls import jax as calls

seen = []

def norm(arrays):
    seen.append(arrays["x"])
    if hasattr(arrays["x"], "devices"):
        float(arrays["x"][0, 0])  # what looks at values is not compiled
    return 2 * arrays["x"]

x = {"x": np.ones((2, 2), np.float32)}
dy = np.ones((2, 2), np.float32)
for device in ("", "cpu:0", "cpu:1"):
    calls.differentiate(norm, x, {}, None, device=device)
    print([str(d.id) for d in seen[-1].devices()])
assert calls.dtypes_on("cpu:1") == ("float32", "float64")
"""


def ran(*words: str) -> subprocess.CompletedProcess[str]:
    """Run Python where the CPU has two devices."""
    command = [sys.executable, *words]
    environment = {**os.environ, **TWO}
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False)


def test_arrays_are_made_on_the_device_that_is_named() -> None:
    """And on the first one where none is named."""
    done = ran("-c", WHERE)
    assert done.stdout.split("\n")[:3] == ["['0']", "['0']", "['1']"], done.stderr


def test_layers_are_audited_on_a_second_device() -> None:
    """With the same verdict, and a note."""
    words = ("audit", "jax", "--quick", "--device", "cpu:1", "--json", "-")
    done = ran("-m", "backnorm", *words)
    targets = json.loads(done.stdout)["targets"]
    assert len(targets) == 2, "jax.nn.standardize and backnorm.jax.batch_norm"
    assert (done.returncode, {target["sound"] for target in targets}) == (0, {True})
    assert all("Its arrays were made on cpu:1." in target["notes"] for target in targets)


@pytest.mark.parametrize("device", ["cpu:2", "xpu"])
def test_a_device_that_is_not_there_is_refused(device: str) -> None:
    """In one line with what JAX says, and status 2."""
    done = ran("-m", "backnorm", "audit", "jax", "--quick", "--device", device)
    assert done.returncode == 2
    assert done.stdout.startswith(f"G27: No {device} for jax: jax ")

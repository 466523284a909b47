"""Whose threads compute tensors: PyTorch's OpenMP's where they are awake, or ours."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from backnorm.testing.cases import LEVELS

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

CHILDREN = Path(__file__).with_name("children.py")

MOST_SECONDS = 600
"""A process that hangs would hang for ever; none of these needs 10 s."""

pytestmark = pytest.mark.skipif(not LEVELS, reason="the C++ part is not built")


def run(name: str, **changes: str | None) -> list[str]:
    """Run one of the children, and return the lines it printed. None takes a variable away."""
    environment = {k: v for k, v in (os.environ | changes).items() if v is not None}
    done = subprocess.run(
        [sys.executable, str(CHILDREN), name],
        env=environment,
        capture_output=True,
        timeout=MOST_SECONDS,
        check=False,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


@pytest.mark.parametrize("policy", ["passive", None])
def test_threads_that_sleep_are_not_waited_for(policy: str | None) -> None:
    """Nothing is known of them before the first call. Ours compute the same bits."""
    asleep_first, asleep_later, same = run("rest", OMP_WAIT_POLICY=policy)
    assert (asleep_first, asleep_later, same) == ("False", "True", "True")


def test_pytorchs_number_of_threads_is_a_limit_for_arrays() -> None:
    """Until set_num_threads is called."""
    assert run("limit", OMP_NUM_THREADS="2") == ["1", "3"]

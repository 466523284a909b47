"""The calls on a framework's tensors, without a framework: freed storage and odd addresses."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from backnorm.testing.cases import LEVELS
from kernels import framework

pytestmark = pytest.mark.skipif(not LEVELS, reason="the C++ part is not built")


def run(check: str) -> list[str]:
    """Run one of the checks in a separate process, and return the lines it printed."""
    command = [sys.executable, str(Path(framework.__file__)), check]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()


def test_freed_storage_is_refused_by_name() -> None:
    """Each tensor that a call reads, freed and cut in half, of each dtype and layout."""
    want = [
        f"{call} {name} {name}"
        for call, names in framework.CALLS.items()
        for name in names
        for _ in ("freed", "halved")
    ]
    assert run("freed") == want


def test_parameters_may_lie_at_odd_addresses() -> None:
    """Weight, bias, running statistics and their gradients: the bits are the same."""
    assert run("odd") == ["0"]

"""Processes that a test has started: waiting for something they do, and for their end."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

__all__ = ["LIMIT", "assert_gone", "pids_in", "wait_until"]

LIMIT = 15.0
"""Seconds for a target that hangs, and for the others of its run: those need 1, on a busy machine
a few, and the limit is how long the test takes."""

LOOKS = 2400
"""At 0.05 s or more: two minutes, for what takes a second or never comes."""


def wait_until(condition: Callable[[], bool]) -> bool:
    """Look again and again whether something has come about; tell whether it has."""
    for _ in range(LOOKS):
        if condition():
            return True
        time.sleep(0.05)
    return False


def pids_in(file: Path) -> list[int]:
    """Return the processes that a target has written down; none before it has."""
    return [int(pid) for pid in file.read_text().split()] if file.is_file() else []


def assert_gone(pids: Sequence[int]) -> None:
    """Wait for the end of processes."""
    assert wait_until(lambda: not any(map(_runs, pids))), pids


def _runs(pid: int) -> bool:
    """Whether a process is there and no zombie that nobody has buried yet."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False

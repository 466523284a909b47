"""Targets that leave processes and threads, or use the pipes of the audit; they need no backnorm.

Each writes the numbers of the processes that it starts to the file in BACKNORM_TEST_PIDS.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

from hosted import Right

SLEEP = [sys.executable, "-c", "import time; time.sleep(600)"]


def note(pid: int) -> None:
    """Write a process down."""
    with Path(os.environ["BACKNORM_TEST_PIDS"]).open("a") as file:
        file.write(f"{pid} ")


def start_session() -> None:
    """Start a process in a session of its own, which nothing in its environment marks."""
    note(subprocess.Popen(SLEEP, start_new_session=True, env={}).pid)


def start_orphan() -> None:
    """Fork twice, as a daemon does: the second process has no parent."""
    child = os.fork()
    if child == 0:
        os.setsid()
        if os.fork() == 0:
            note(os.getpid())
            time.sleep(600)
        os._exit(0)
    os.waitpid(child, 0)


def start_thread() -> None:
    """Start a thread that the interpreter would wait for."""
    threading.Thread(target=time.sleep, args=(600,)).start()


class _Once(Right):
    """Does something in its first call."""

    start = staticmethod(lambda: None)
    end = staticmethod(lambda: None)

    @classmethod
    def forward(cls, x: Any, gamma: Any, beta: Any) -> Any:  # type: ignore[override]
        """Normalize."""
        if "started" not in vars(cls):
            cls.started = True  # type: ignore[attr-defined]
            cls.start()
        cls.end()
        return Right.forward(x, gamma, beta)


class Session(_Once):
    """Leaves a process in another session."""

    start = staticmethod(start_session)


class Orphan(_Once):
    """Leaves a process that has no parent, and holds the pipes."""

    start = staticmethod(start_orphan)


class Thread(_Once):
    """Leaves a thread."""

    start = staticmethod(start_thread)


class SessionHangs(Session):
    """The same, and never comes back."""

    end = staticmethod(lambda: time.sleep(600))


class OrphanDies(Orphan):
    """The same, and ends its process."""

    end = staticmethod(os.abort)


class ThreadExits(Thread):
    """The same, and exits: the interpreter would wait for the thread."""

    end = staticmethod(lambda: sys.exit("no more"))


class Garbage(_Once):
    """Writes bytes to all pipes whose length as a frame is without end."""

    @staticmethod
    def end() -> None:
        """Scribble."""
        for number in range(3, 30):
            with contextlib.suppress(OSError):
                os.write(number, b"\xff" * 64)


class Closes(_Once):
    """Closes all pipes."""

    end = staticmethod(lambda: os.closerange(3, 50))

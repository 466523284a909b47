"""Targets that lose their process after their gradient was judged; they need no backnorm."""

from __future__ import annotations

import ctypes
import os
import signal
import time
from typing import Any

import numpy as np
from hosted import Cut, Right


class _Later(Cut):
    """The path through the mean is cut; something happens to an empty batch."""

    end = staticmethod(lambda: None)

    @classmethod
    def forward(cls, x: Any, gamma: Any, beta: Any) -> Any:  # type: ignore[override]
        """Normalize."""
        if not len(x):
            os.write(2, b"goodbye")
            cls.end()
        return Cut.forward(x, gamma, beta)


class Crashes(_Later):
    """Reads where nothing may be read."""

    end = staticmethod(lambda: ctypes.string_at(0))  # type: ignore[assignment,return-value]


class Leaves(_Later):
    """Ends its process behind Python's back."""

    end = staticmethod(lambda: os._exit(7))


class Exits(_Later):
    """Ends as a script does."""

    @staticmethod
    def end() -> None:
        """Exit."""
        raise SystemExit(7)


class Aborts(_Later):
    """Aborts, as a failed assertion in C does."""

    end = staticmethod(os.abort)


class Killed(_Later):
    """Is killed, as by a system that has no memory left."""

    end = staticmethod(lambda: os.kill(os.getpid(), signal.SIGKILL))


class Hangs(_Later):
    """Never comes back."""

    end = staticmethod(lambda: time.sleep(600))


class Often(Right):
    """Dies of large values, means and scales: in three probes."""

    @staticmethod
    def forward(x: Any, gamma: Any, beta: Any) -> Any:
        """Normalize."""
        if x.size and np.abs(x).max() > 1e6:
            os._exit(3)
        return Right.forward(x, gamma, beta)


class Everywhere(Right):
    """Hangs in every probe: in whatever its process is asked after its gradient."""

    @staticmethod
    def forward(x: Any, gamma: Any, beta: Any) -> Any:
        """Normalize."""
        if not len(x) or np.abs(x).max() > 1e3 or (x.size and np.ptp(x[:, 0]) == 0):
            time.sleep(600)
        return Right.forward(x, gamma, beta)

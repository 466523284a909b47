"""Targets for the command line: right, wrong, and of the kind that takes its process along."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from backnorm.audit.specimens.cut import MeanCut
from backnorm.audit.specimens.plain import Plain

NOT_A_LAYER = 3


class Right(Plain):
    """A right pair under a name of its own."""


class Cut(MeanCut):
    """A pair whose gradient does not go through the mean."""


class Loud:
    """Prints ten megabytes on both streams, and reads from stdin."""

    @staticmethod
    def forward(x: Any, gamma: Any, beta: Any) -> Any:
        """Shout, then compute."""
        if not hasattr(Loud, "shouted"):
            Loud.shouted = True
            assert sys.stdin.read() == ""
            for stream in (1, 2):
                for _ in range(100):
                    os.write(stream, b'{"record": 1}\n' * 7500)
            sys.stdout.write("{}\n")
        return Plain.forward(x, gamma, beta)

    backward = staticmethod(Plain.backward)


class Hangs:
    """Never comes back."""

    @staticmethod
    def forward(*_: Any) -> Any:
        """Sleep for ever."""
        while True:
            time.sleep(1)

    backward = staticmethod(Plain.backward)


class HangsLater:
    """Starts a process of its own, says which, and hangs in the backward pass."""

    sample_shape = (3, 2, 2)
    forward = staticmethod(Plain.forward)

    @staticmethod
    def backward(*_: Any) -> Any:
        """Sleep for ever, and have a child sleep too."""
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        Path(os.environ["BACKNORM_TEST_PIDS"]).write_text(f"{os.getpid()} {child.pid}")
        while True:
            time.sleep(1)


class Crashes:
    """Reads where nothing may be read."""

    sample_shape = (3, 2, 2)

    @staticmethod
    def forward(*_: Any) -> Any:
        """Say something, then crash."""
        os.write(2, b"goodbye")
        ctypes.string_at(0)

    backward = staticmethod(Plain.backward)


class Exits:
    """Ends the process."""

    sample_shape = (3, 2, 2)

    @staticmethod
    def forward(*_: Any) -> Any:
        """Exit as a script does."""
        sys.exit(7)

    backward = staticmethod(Plain.backward)


class Raises:
    """Raises an error."""

    sample_shape = (3, 2, 2)

    @staticmethod
    def forward(*_: Any) -> Any:
        """Raise."""
        message = "no such thing"
        raise ValueError(message)

    backward = staticmethod(Plain.backward)

"""A child process that runs a script of Python's in a fork, in a tenth of the time.

HDF5 files are read in a process of their own, which takes 0.2 s to start. A fork has what that
process would import, and the same limits. It stands in for ``subprocess`` while targets run; one
call in `REAL` goes through a real process.
"""

from __future__ import annotations

import itertools
import os
import select
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from types import CodeType, SimpleNamespace
from typing import TYPE_CHECKING, BinaryIO, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

REAL: Final = 200

FATAL: Final = (
    *(signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGFPE, signal.SIGILL),
    *(signal.SIGALRM, signal.SIGINT, signal.SIGTERM),
)
"""What the engine handles in its own process."""

_code: dict[str, CodeType] = {}
_calls = itertools.count(1)


def run(
    command: Sequence[str],
    *,
    input: bytes = b"",  # noqa: A002 - as subprocess calls it
    stdin: int | None = None,
    capture_output: bool,
    timeout: float,
    check: bool,
) -> subprocess.CompletedProcess[bytes]:
    """Do what `subprocess.run` does with ``[python, "-I", script]``."""
    with tempfile.TemporaryFile() as written, tempfile.TemporaryFile() as stdout:
        written.write(input)
        written.seek(0)
        read = written.fileno() if stdin is None else stdin
        if next(_calls) % REAL == 0:
            return subprocess.run(
                command, stdin=read, capture_output=capture_output, timeout=timeout, check=check
            )
        script = command[-1]
        if script not in _code:
            _code[script] = compile(Path(script).read_bytes(), script, "exec")
        status = _forked(_code[script], read, stdout, timeout)
        if status is None:
            raise subprocess.TimeoutExpired(list(command), timeout)
        stdout.seek(0)
        return subprocess.CompletedProcess(list(command), status, stdout.read(), b"")


def _forked(code: CodeType, stdin: int, stdout: BinaryIO, timeout: float) -> int | None:
    """Return the exit status, or None if the time was over; the pipe closes when the child ends."""
    ours, theirs = os.pipe()
    child = os.fork()
    if not child:
        _child(code, stdin, stdout)
    os.close(theirs)
    ended, _, _ = select.select([ours], [], [], timeout)
    os.close(ours)
    if not ended:
        os.kill(child, signal.SIGKILL)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return status if ended else None


def _child(code: CodeType, stdin: int, stdout: BinaryIO) -> None:
    status = 1
    try:
        for number in FATAL:
            signal.signal(number, signal.SIG_DFL)
        os.dup2(stdin, 0)
        os.dup2(stdout.fileno(), 1)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        sys.stdin, sys.stdout = os.fdopen(0), os.fdopen(1, "w", closefd=False)
        exec(code, {"__name__": "__main__", "__file__": code.co_filename})  # noqa: S102 - ours
        sys.stdout.flush()
        status = 0
    finally:
        os._exit(status)


STAND_IN: Final = SimpleNamespace(run=run, TimeoutExpired=subprocess.TimeoutExpired)
"""For a module's ``subprocess``."""

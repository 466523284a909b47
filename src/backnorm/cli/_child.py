"""One child process: started, asked, and ended so that nothing is left of it."""

from __future__ import annotations

import collections
import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final

import backnorm

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["NEXT", "Child", "start_child"]

LAST_WORDS: Final = 2000
"""Bytes of the child's stderr that are kept, to tell what it said before it died."""

NEXT: Final = b"\0next\0"
"""What the child writes to stderr before it begins something: what follows are words about that."""

FAREWELL: Final = 3.0
"""Seconds that a child has to end by itself when there is nothing more to do."""


@dataclass(frozen=True, slots=True, eq=False)
class Child:
    """A running child.

    Attributes
    ----------
    process
        The process, leader of its own process group.
    answers
        Lines that it sent; None when it closed its end.
    words
        The last of what it wrote to stderr.
    readers
        Threads that fill `answers` and `words`.
    """

    process: subprocess.Popen[bytes]
    answers: queue.SimpleQueue[bytes | None]
    words: collections.deque[int]
    readers: tuple[threading.Thread, ...]

    def send(self, job: dict[str, Any]) -> None:
        """Send a job; one that is already dead will be found out by `receive`."""
        pipe = self.process.stdin
        with contextlib.suppress(OSError):
            if pipe is not None:
                pipe.write(json.dumps(job).encode() + b"\n")
                pipe.flush()

    def receive(self, seconds: float) -> Iterator[dict[str, Any]]:
        """Yield its messages until it is done; the last may be that it is lost."""
        while True:
            try:
                line = self.answers.get(timeout=seconds)
            except queue.Empty:
                yield {"lost": "hung"}
                return
            message = {"lost": "died"} if line is None else json.loads(line)
            yield message
            if "done" in message or "lost" in message:
                return

    def end(self) -> tuple[str, str]:
        """End it and all that it started; return how it went and its last words."""
        if self.process.stdin is not None:
            with contextlib.suppress(OSError):
                self.process.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(FAREWELL)
        return self.kill()

    def kill(self) -> tuple[str, str]:
        """End it at once."""
        code = self.process.poll()
        _kill_group(self.process)
        self.process.wait()
        for reader in self.readers:
            reader.join(FAREWELL)
        if not any(reader.is_alive() for reader in self.readers):
            for pipe in (self.process.stdin, self.process.stdout, self.process.stderr):
                _close(pipe)
        words = bytes(self.words).rpartition(NEXT)[2]
        return _ending(code), words[-LAST_WORDS:].decode(errors="replace")


def start_child() -> Child:
    """Start a child that waits for jobs."""
    root = Path(next(iter(backnorm.__path__))).parent
    paths = [str(root), *filter(None, [os.environ.get("PYTHONPATH")])]
    process = subprocess.Popen(
        [sys.executable, "-m", "backnorm.cli._worker"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
        # Inputs are small: more threads would only wait for each other.
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"},
    )
    answers: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
    words: collections.deque[int] = collections.deque(maxlen=LAST_WORDS + len(NEXT))
    readers = (
        threading.Thread(target=_read_answers, args=(process.stdout, answers), daemon=True),
        threading.Thread(target=_read_words, args=(process.stderr, words), daemon=True),
    )
    for reader in readers:
        reader.start()
    return Child(process, answers, words, readers)


def _read_answers(pipe: IO[bytes], answers: queue.SimpleQueue[bytes | None]) -> None:
    for line in pipe:
        answers.put(line)
    answers.put(None)


def _read_words(pipe: IO[bytes], words: collections.deque[int]) -> None:
    while chunk := os.read(pipe.fileno(), 1 << 16):
        words.extend(chunk)


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    """Kill the child and whatever it started in its group."""
    if not hasattr(os, "killpg"):
        process.kill()
        return
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)


def _close(pipe: IO[bytes] | None) -> None:
    if pipe is not None:
        with contextlib.suppress(OSError):
            pipe.close()


def _ending(code: int | None) -> str:
    if code is None:
        return "no end of its own"
    if code >= 0:
        return f"exit status {code}"
    names = {number.value: number.name for number in signal.Signals}
    return f"signal {names.get(-code, -code)}"

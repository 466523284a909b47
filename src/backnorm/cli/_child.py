"""One child process: started, asked, and ended so that nothing is left of it."""

from __future__ import annotations

import collections
import contextlib
import os
import queue
import signal
import struct
import subprocess
import threading
from dataclasses import dataclass
from time import monotonic
from typing import IO, TYPE_CHECKING, Any, Final

from backnorm.host.serve import NEXT, pack, read_frame

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

__all__ = ["Child", "start_child"]

LAST_WORDS: Final = 2000
"""Bytes of the child's stderr that are kept, to tell what it said before it died."""

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
        Messages that it sent; None when it closed its end.
    words
        The last of what it wrote to stderr.
    readers
        Threads that fill `answers` and `words`.
    """

    process: subprocess.Popen[bytes]
    answers: queue.SimpleQueue[dict[str, Any] | None]
    words: collections.deque[int]
    readers: tuple[threading.Thread, ...]

    def send(self, message: Mapping[str, Any]) -> None:
        """Send a message; a child that is already dead will be found out by `receive`."""
        pipe = self.process.stdin
        with contextlib.suppress(OSError):
            if pipe is not None:
                pipe.write(pack(message))
                pipe.flush()

    def receive(self, seconds: float) -> Iterator[dict[str, Any]]:
        """Yield its messages until it is done; the last may be that it is lost.

        Parameters
        ----------
        seconds
            How long it may take from one message to the next, those not counted that only tell
            which probe is at work.
        """
        until = monotonic() + seconds
        while True:
            message = self.answer(until - monotonic())
            if "probing" not in message:
                until = monotonic() + seconds
            yield message
            if "done" in message or "lost" in message:
                return

    def answer(self, seconds: float) -> dict[str, Any]:
        """Return its next message, or that it is lost."""
        try:
            message = self.answers.get(timeout=max(seconds, 0.0))
        except queue.Empty:
            return {"lost": "hung"}
        return {"lost": "died"} if message is None else message

    def lost(self, message: Mapping[str, Any]) -> tuple[str, str]:
        """End it, lost as it is: if it closed its pipe it ends by itself, if it hangs never."""
        return self.end() if message["lost"] == "died" else self.kill()

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


def start_child(command: Sequence[str], environment: Mapping[str, str]) -> Child:
    """Start a child that waits for messages: one that runs `backnorm.host.serve.serve`.

    Parameters
    ----------
    command
        The program and its arguments.
    environment
        Environment variables beside those of this process.

    Returns
    -------
    Child
        In a session of its own, so that it can be ended with all that it starts.
    """
    process = subprocess.Popen(
        list(command),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
        # Inputs are small: more threads would only wait for each other.
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
    )
    answers: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
    words: collections.deque[int] = collections.deque(maxlen=LAST_WORDS + len(NEXT))
    readers = (
        threading.Thread(target=_read_answers, args=(process.stdout, answers), daemon=True),
        threading.Thread(target=_read_words, args=(process.stderr, words), daemon=True),
    )
    for reader in readers:
        reader.start()
    return Child(process, answers, words, readers)


def _read_answers(pipe: IO[bytes], answers: queue.SimpleQueue[dict[str, Any] | None]) -> None:
    # Bytes that are no message, from a target that has written to the pipe, end the conversation.
    with contextlib.suppress(ValueError, TypeError, struct.error, MemoryError):
        while (message := read_frame(pipe)) is not None:
            answers.put(message)
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

"""A child process: started, asked, and ended together with all processes that it started."""

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
from typing import IO, TYPE_CHECKING, Any, Final, NamedTuple, Protocol

from backnorm.host.serve import NEXT, pack, read_frame
from backnorm.host.watch import ADOPTS, LEFT, descendants

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

__all__ = ["FRAMES", "UNENDED", "Child", "ChildWire", "Ending", "FrameWire", "start_child"]

LAST_OUTPUT: Final = 2000
"""Bytes of the child's stderr that are kept, for the message if it dies."""

EXIT_SECONDS: Final = 3.0
"""Seconds that a child has to exit when its input is closed."""

UNENDED: Final = "no exit status"
"""How a child ended that closed its pipe and went on."""

LOOK_SECONDS: Final = 0.25
"""A process that the child has started may hold its pipes: this often the child itself is looked
at."""


class ChildWire(Protocol):
    """How messages become bytes on the pipes of a child, and bytes messages."""

    def pack(self, message: Mapping[str, Any]) -> bytes:
        """Return the bytes of a message."""

    def read(self, pipe: Any) -> Any:
        """Return the next message; None at the end of the pipe, ValueError for other bytes."""


class FrameWire:
    """The wire to children that run `backnorm.host.serve.serve`."""

    def pack(self, message: Mapping[str, Any]) -> bytes:
        """Return the bytes of a message."""
        return bytes(pack(message))

    def read(self, pipe: Any) -> Any:
        """Return the next message, or None."""
        return read_frame(pipe)


FRAMES: Final = FrameWire()
"""The wire of a child that nothing else is said of."""


class Ending(NamedTuple):
    """How a child ended.

    Attributes
    ----------
    how
        Its exit status or signal.
    words
        Its last output.
    others
        How many processes that it had started were ended with it; 0 where nothing tells.
    """

    how: str
    words: str
    others: int


@dataclass(frozen=True, slots=True, eq=False)
class Child:
    """A running child.

    Attributes
    ----------
    process
        The process, which leads its process group.
    answers
        Messages that it sent; None when it closed its end of the pipe.
    output
        The last bytes that it wrote to stderr.
    readers
        Threads that fill `answers` and `output`.
    wire
        How messages become bytes.
    """

    process: subprocess.Popen[bytes]
    answers: queue.SimpleQueue[dict[str, Any] | None]
    output: collections.deque[int]
    readers: tuple[threading.Thread, ...]
    wire: ChildWire = FRAMES

    def send(self, message: Mapping[str, Any]) -> None:
        """Send a message; if the child is dead, `receive` says so."""
        pipe = self.process.stdin
        with contextlib.suppress(OSError):
            if pipe is not None:
                pipe.write(self.wire.pack(message))
                pipe.flush()

    def post(self, messages: Sequence[Mapping[str, Any]]) -> None:
        """Send messages in another thread: a child may read on only where its answers are read."""
        threading.Thread(target=self._send_all, args=(messages,), daemon=True).start()

    def _send_all(self, messages: Sequence[Mapping[str, Any]]) -> None:
        for message in messages:
            self.send(message)

    def receive(self, seconds: float) -> Iterator[dict[str, Any]]:
        """Yield its messages until it is done or lost.

        Parameters
        ----------
        seconds
            The longest time between two messages.
        """
        while True:
            message = self.answer(seconds)
            yield message
            if "done" in message or "lost" in message:
                return

    def answer(self, seconds: float) -> dict[str, Any]:
        """Return its next message, or the message that it is lost."""
        until = monotonic() + seconds
        while True:
            left = until - monotonic()
            ended = self.process.poll() is not None
            with contextlib.suppress(queue.Empty):
                message = self.answers.get(timeout=max(min(left, LOOK_SECONDS), 0.0))
                return {"lost": "died"} if message is None else message
            if ended or left <= LOOK_SECONDS:
                return {"lost": "died" if ended else "hung"}

    @property
    def ahead(self) -> str:
        """What it has sent beyond the messages that were taken; nothing where that is its end."""
        with contextlib.suppress(queue.Empty):
            message = self.answers.get_nowait()
            self.answers.put(message)
            return "" if message is None else message.get("what", "another answer")
        return ""

    def lost(self, message: Mapping[str, Any]) -> Ending:
        """End a lost child: a child that closed its pipe exits by itself, others do not."""
        return self.end() if message["lost"] == "died" else self.kill()

    def end(self) -> Ending:
        """End it and all that it started; return how it ended and its last output."""
        # In another thread: where messages are still being sent, to a child that reads no more, the
        # pipe cannot be closed before the child is killed.
        threading.Thread(target=_close, args=(self.process.stdin,), daemon=True).start()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(EXIT_SECONDS)
        return self.kill()

    def kill(self) -> Ending:
        """The same, at once."""
        code = self.process.poll()
        _kill_all(self.process)
        for reader in self.readers:
            reader.join(EXIT_SECONDS)
        if not any(reader.is_alive() for reader in self.readers):
            for pipe in (self.process.stdin, self.process.stdout, self.process.stderr):
                _close(pipe)
        words, _, others = bytes(self.output).rpartition(NEXT)[2].partition(LEFT)
        said = words[-LAST_OUTPUT:].decode(errors="replace")
        return Ending(_ending(code), said, int(others) if others.isdigit() else 0)


def start_child(
    command: Sequence[str], environment: Mapping[str, str], wire: ChildWire = FRAMES
) -> Child:
    """Start a child that waits for messages.

    Parameters
    ----------
    command
        The program and its arguments.
    environment
        Environment variables beside those of this process.
    wire
        How messages become bytes: by default as `backnorm.host.serve.serve` reads them.

    Returns
    -------
    Child
        In a new session, so that it can be ended with all that it starts.
    """
    process = subprocess.Popen(
        list(command),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
        # Inputs are small: further threads would only wait for each other.
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
    )
    answers: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
    output: collections.deque[int] = collections.deque(maxlen=LAST_OUTPUT + len(NEXT) + len(LEFT))
    readers = (
        threading.Thread(target=_read_answers, args=(process.stdout, answers, wire), daemon=True),
        threading.Thread(target=_read_output, args=(process.stderr, output), daemon=True),
    )
    for reader in readers:
        reader.start()
    return Child(process, answers, output, readers, wire)


def _read_answers(
    pipe: IO[bytes], answers: queue.SimpleQueue[dict[str, Any] | None], wire: ChildWire
) -> None:
    try:
        while (message := wire.read(pipe)) is not None:
            answers.put(message if isinstance(message, dict) else {"lost": "garbled"})
    except (ValueError, TypeError, LookupError, OverflowError, MemoryError, struct.error) as error:
        # Bytes that are not a message, from a target that wrote to the pipe.
        answers.put({"lost": "garbled", "what": str(error)})
    else:
        answers.put(None)


def _read_output(pipe: IO[bytes], output: collections.deque[int]) -> None:
    while chunk := os.read(pipe.fileno(), 1 << 16):
        output.extend(chunk)


def _kill_all(process: subprocess.Popen[bytes]) -> None:
    """Kill the child and all that it started: by its supervisor, or else one by one."""
    started = [] if ADOPTS else descendants(process.pid)
    process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(EXIT_SECONDS)
    # A group is there as long as one of its processes is.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    for pid in started:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)
    process.wait()


def _close(pipe: IO[bytes] | None) -> None:
    if pipe is not None:
        with contextlib.suppress(OSError):
            pipe.close()


def _ending(code: int | None) -> str:
    if code is None:
        return UNENDED
    if code >= 0:
        return f"exit status {code}"
    names = {number.value: number.name for number in signal.Signals}
    return f"signal {names.get(-code, -code)}"

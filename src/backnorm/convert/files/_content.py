"""The bytes of a file: all of them in memory, or read from the file piece by piece.

A conversion works on bytes in memory: what it copies is what it has read, whatever happens to the
file meanwhile. An inspection needs a few arrays of a large file, and reads those alone. It does not
map the file into memory: the process would be killed if the file became shorter (SIGBUS).
"""

from __future__ import annotations

import io
import os
import weakref
from dataclasses import dataclass, field
from typing import Any, BinaryIO, TypeAlias

from backnorm.errors import FileError

__all__ = ["Content", "InMemory", "OnDisk"]


@dataclass(frozen=True, slots=True, eq=False)
class InMemory:
    """All bytes.

    Attributes
    ----------
    data
        The bytes.
    """

    data: bytes = field(repr=False)

    def __len__(self) -> int:
        return len(self.data)

    def part(self, start: int, end: int) -> bytes | memoryview:
        """Return the bytes between two offsets, without a copy."""
        return memoryview(self.data)[start:end]

    def whole(self) -> bytes:
        """Return all bytes."""
        return self.data

    def stream(self) -> BinaryIO:
        """Return a stream of all bytes, at its beginning."""
        return io.BytesIO(self.data)


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class OnDisk:
    """An open file, which stays the same file if another one gets its name.

    Attributes
    ----------
    file
        Its name, for messages.
    number
        Its descriptor, which is closed with the last reference to this.
    size
        How many bytes it had when it was opened.
    """

    file: str
    number: int
    size: int

    @classmethod
    def of(cls, file: str, opened: BinaryIO) -> OnDisk:
        """Return the content of an open file, which is closed: this has its own descriptor."""
        with opened:
            number = os.dup(opened.fileno())
        content = cls(file, number, os.fstat(number).st_size)
        weakref.finalize(content, os.close, number)
        return content

    def __len__(self) -> int:
        return self.size

    def part(self, start: int, end: int) -> bytes | memoryview:
        """Read the bytes between two offsets; fewer if the end is behind that of the file.

        Raises
        ------
        FileError
            If the file has become shorter, or cannot be read.
        """
        wanted = max(min(end, self.size) - start, 0)
        pieces: list[bytes] = []
        there = 0
        try:
            while there < wanted:  # the system reads 2 GiB at once at most
                piece = os.pread(self.number, wanted - there, start + there)
                if not piece:
                    raise FileError.truncated(self.file, "", wanted, there)
                pieces.append(piece)
                there += len(piece)
        except OSError as error:
            raise FileError.unreadable(self.file, error) from error
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def whole(self) -> bytes:
        """Read all bytes."""
        return bytes(self.part(0, self.size))

    def stream(self) -> BinaryIO:
        """Return a stream of all bytes, at its beginning."""
        return io.BufferedReader(_Stream(self))


class _Stream(io.RawIOBase):
    """The bytes of a file as a stream that does not own the file."""

    def __init__(self, content: OnDisk) -> None:
        super().__init__()
        self._content, self._at = content, 0

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a place, and return it."""
        base = (0, self._at, len(self._content))[whence]
        self._at = max(base + offset, 0)
        return self._at

    def readinto(self, buffer: Any) -> int:
        """Read as many bytes as there is room for, and return their number."""
        data = self._content.part(self._at, self._at + len(buffer))
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)


Content: TypeAlias = InMemory | OnDisk
"""What a reader gets; both have the same methods."""

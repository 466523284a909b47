"""FlatBuffers: tables whose fields are found by offsets, each of which is checked."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

from backnorm.errors import FileError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from backnorm.convert.files._budget import Budget

__all__ = ["FlatTable"]

ENTRY = 64
"""Bytes of memory for an entry of a vector: several may be one and the same place in the file."""


@dataclass(frozen=True, slots=True)
class FlatTable:
    """A table in a file.

    Attributes
    ----------
    budget
        The bytes that the file may become.
    data
        The file's bytes.
    at
        Where the table lies.
    """

    budget: Budget
    data: bytes
    at: int

    @classmethod
    def root(cls, budget: Budget, data: bytes) -> FlatTable:
        """Return the table that the file begins with."""
        table = cls(budget, data, 0)
        return cls(budget, data, table.number(0, "I"))

    def number(self, at: int, code: str) -> int:
        """Read a number at a place in the file, by its code of `struct`."""
        size = struct.calcsize(f"<{code}")
        if not 0 <= at <= len(self.data) - size:
            left = max(len(self.data) - at, 0)
            raise FileError.truncated(self.budget.file, f"byte {at}", size, left)
        (value,) = struct.unpack_from(f"<{code}", self.data, at)
        return int(value)

    def place(self, field: int) -> int | None:
        """Return where a field lies; None where the table lacks it."""
        vtable = self.at - self.number(self.at, "i")
        entry = 4 + 2 * field
        if entry >= self.number(vtable, "H"):
            return None
        offset = self.number(vtable + entry, "H")
        return self.at + offset if offset else None

    def scalar(self, field: int, code: str) -> int:
        """Return a number; 0 where the table lacks it."""
        at = self.place(field)
        return 0 if at is None else self.number(at, code)

    def vector(self, field: int) -> tuple[int, int]:
        """Return where the entries of a vector begin, and how many there are."""
        at = self.place(field)
        if at is None:
            return 0, 0
        start = at + self.number(at, "I")
        count = self.number(start, "I")
        if count > len(self.data) - start:
            raise FileError.too_large(
                self.budget.file, f"byte {start}", count, len(self.data) - start
            )
        return start + 4, count

    def numbers(self, field: int, code: str) -> list[int]:
        """Return the entries of a vector of numbers."""
        start, count = self.vector(field)
        self.budget.take("the graph", ENTRY * count)
        size = struct.calcsize(f"<{code}")
        return [self.number(start + index * size, code) for index in range(count)]

    def tables(self, field: int) -> Iterator[FlatTable]:
        """Yield the entries of a vector of tables."""
        start, count = self.vector(field)
        for index in range(count):
            self.budget.take("the graph", ENTRY)
            at = start + 4 * index
            yield FlatTable(self.budget, self.data, at + self.number(at, "I"))

    def text(self, field: int) -> str:
        """Return a text; an empty one where the table lacks it."""
        start, count = self.vector(field)
        self.budget.take("the graph", ENTRY + count)
        return self.data[start : start + count].decode(errors="replace")

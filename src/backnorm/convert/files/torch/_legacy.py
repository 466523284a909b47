"""PyTorch's files from before version 1.6: pickles one after another, and then the storages.

The pickles are a magic number, the version of the format, facts about the machine, the data, and a
list of the storages. Each storage is a count of values in 8 bytes, and the values, little-endian.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from backnorm.convert.files.torch._pickled import unpickled
from backnorm.convert.files.torch._tensors import storage_of
from backnorm.errors import FileError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from backnorm.convert.files._budget import Budget, Source
    from backnorm.convert.files._content import Content
    from backnorm.convert.files.torch._pickled import Pickle

__all__ = ["LegacyStorages"]

COUNT: Final = struct.Struct("<q")

DATA: Final = "the data"


@dataclass(frozen=True, slots=True, eq=False)
class LegacyStorages:
    """The storages of a file.

    Attributes
    ----------
    content
        The bytes of the file.
    data
        What the pickle of the data holds.
    spans
        Where the values of each storage begin and end.
    budget
        The bytes that the file may become.
    """

    content: Content
    data: Pickle
    spans: Mapping[str, tuple[int, int]]
    budget: Budget
    big_endian: bool = False
    """The machine that wrote the file has put the bytes in order."""

    @classmethod
    def of(cls, source: Source) -> LegacyStorages:
        """Find the storages of a source."""
        content, budget = source.content, source.budget
        at = 0
        for place in ("the magic number", "the version", "the facts about the machine"):
            at = unpickled(budget, place, content, at).end
        data = unpickled(budget, DATA, content, at)
        keys = unpickled(budget, "the list of storages", content, data.end)
        spans = _spans(source, keys, _itemsizes(source.path.name, data))
        return cls(content, data, spans, budget)

    def pickle(self) -> Pickle:
        """Return what the pickle of the data holds."""
        return self.data

    def size(self, place: str, key: str) -> int:
        """Return how many bytes a storage has."""
        if key not in self.spans:
            raise FileError.missing_array(self.budget.file, place, sorted(self.spans)[:8])
        start, end = self.spans[key]
        return end - start

    def part(self, place: str, key: str, start: int, end: int) -> bytes | memoryview:
        """Return some bytes of a storage, whose size was asked for."""
        first, _ = self.spans[key]
        data = self.content.part(first + start, first + end)
        if len(data) < end - start:
            raise FileError.truncated(self.budget.file, place, end - start, len(data))
        return data

    def replaced(self, changed: Mapping[str, bytes]) -> bytes:
        """Return the file with other bytes in some storages."""
        data = bytearray(self.content.whole())
        for key, values in changed.items():
            start, end = self.spans[key]
            data[start:end] = values
        return bytes(data)


def _itemsizes(file: str, data: Pickle) -> dict[str, int]:
    """Return the bytes of a value of each storage: the data tells them, the storage does not."""
    sizes: dict[str, int] = {}
    for stored in data.storages:
        part = storage_of(file, DATA, stored)
        if sizes.setdefault(part.key, part.itemsize) != part.itemsize:
            raise FileError.malformed(file, DATA, "give each storage one dtype", "two dtypes")
    return sizes


def _spans(source: Source, keys: Pickle, sizes: Mapping[str, int]) -> dict[str, tuple[int, int]]:
    """Return where the values of each storage lie, in the order of the list."""
    file, content, at = source.path.name, source.content, keys.end
    spans: dict[str, tuple[int, int]] = {}
    names: Any = keys.tree
    if not isinstance(names, list) or not all(isinstance(key, str) for key in names):
        raise FileError.malformed(file, "the list of storages", "hold names", type(names).__name__)
    for key in names:
        place = f"storage {key}"
        if key not in sizes or key in spans:
            raise FileError.malformed(file, place, "be one of the data's", "another storage")
        head = bytes(content.part(at, at + COUNT.size))
        if len(head) < COUNT.size:
            raise FileError.truncated(file, place, COUNT.size, len(head))
        (count,) = COUNT.unpack(head)
        start = at + COUNT.size
        at = start + count * sizes[key]
        if count < 0 or at > len(content):
            raise FileError.too_large(file, place, count * sizes[key], len(content) - start)
        spans[key] = (start, at)
    return spans

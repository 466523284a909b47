"""PyTorch's zip archives: a pickle, and a member for each storage."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from backnorm.convert.files import _zip
from backnorm.convert.files._content import InMemory
from backnorm.convert.files._guard import guard
from backnorm.convert.files.torch._pickled import unpickled
from backnorm.errors import FileError
from backnorm.errors.base import place_in

if TYPE_CHECKING:
    from collections.abc import Mapping

    from backnorm.convert.files._budget import Budget, Source
    from backnorm.convert.files._content import Content
    from backnorm.convert.files.torch._pickled import Pickle

__all__ = ["ArchiveStorages"]

PICKLE: Final = "data.pkl"

MANY: Final = 8
"""Names in a message."""


@dataclass(frozen=True, slots=True, eq=False)
class ArchiveStorages:
    """The storages of an archive.

    PyTorch does not check the checksums of members, and can be told not to write them, so they are
    not checked where a member is not compressed.

    Attributes
    ----------
    content
        The bytes of the archive.
    archive
        Its members.
    folder
        The folder that all members are in, with "/".
    budget
        The bytes that it may become.
    """

    content: Content
    archive: zipfile.ZipFile
    folder: str
    budget: Budget
    unpacked: dict[str, bytes] = field(default_factory=dict)
    """The members that are compressed: each is unpacked once, as its tensors share its memory."""

    @classmethod
    def of(cls, source: Source) -> ArchiveStorages:
        """Open the archive of a source."""
        archive = _zip.opened(source.budget, source.content)
        found = [name for name in archive.namelist() if name.rpartition("/")[2] == PICKLE]
        if len(found) != 1:
            raise FileError.malformed(
                source.path.name, "members", f"have one {PICKLE}", f"{len(found)}"
            )
        return cls(source.content, archive, found[0].removesuffix(PICKLE), source.budget)

    def pickle(self) -> Pickle:
        """Return what the pickle holds."""
        return unpickled(self.budget, PICKLE, InMemory(bytes(self._member(PICKLE, PICKLE))))

    @property
    def big_endian(self) -> bool:
        """Whether the first byte of a value is its most significant byte."""
        name = "byteorder"
        return self.folder + name in self.archive.namelist() and b"big" in bytes(
            self._member(name, name)
        )

    def size(self, place: str, key: str) -> int:
        """Return how many bytes a storage has."""
        return self._entry(place, f"data/{key}").file_size

    def part(self, place: str, key: str, start: int, end: int) -> bytes | memoryview:
        """Return some bytes of a storage."""
        return self._member(place, f"data/{key}", start, end)

    def replaced(self, changed: Mapping[str, bytes]) -> bytes:
        """Return the file with other bytes in some storages."""
        members = {f"{self.folder}data/{key}": data for key, data in changed.items()}
        return _zip.replaced(self.content.whole(), members)

    def _entry(self, place: str, name: str) -> zipfile.ZipInfo:
        try:
            return self.archive.getinfo(self.folder + name)
        except KeyError:
            there = sorted(self.archive.namelist())[:MANY]
            raise FileError.missing_array(self.budget.file, place, there) from None

    def _member(
        self, place: str, name: str, start: int = 0, end: int | None = None
    ) -> bytes | memoryview:
        """Return some bytes of a member: those alone where it is not compressed."""
        entry = self._entry(place, name)
        if entry.compress_type != zipfile.ZIP_STORED:
            if name not in self.unpacked:
                with guard(place_in(self.budget.file, place), "zipfile"):
                    self.unpacked[name] = self.archive.read(entry)
            return memoryview(self.unpacked[name])[start:end]
        first, last = _zip.span_of(self.budget.file, place, self.content, entry)
        wanted = (last if end is None else first + end) - first - start
        data = self.content.part(first + start, first + start + wanted)
        if len(data) < wanted:
            raise FileError.truncated(self.budget.file, place, wanted, len(data))
        return data

"""Zip archives: read into memory under limits, and never unpacked to the disk."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from pathlib import PurePosixPath, PureWindowsPath
from typing import TYPE_CHECKING, Final

from backnorm.convert.files._budget import OVERHEAD
from backnorm.convert.files._content import InMemory
from backnorm.convert.files._guard import guard
from backnorm.errors import FileError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from backnorm.convert.files._budget import Budget
    from backnorm.convert.files._content import Content

__all__ = [
    "LONGEST_NAME",
    "check_members",
    "check_name",
    "contents",
    "members",
    "opened",
    "replaced",
    "span_of",
]

METHODS: Final = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
"""zipfile unpacks these piece by piece, up to the size that the archive claims; of bzip2 and LZMA
it unpacks all that there is."""

LONGEST_NAME: Final = 0xFFFF
"""Bytes of a member's name: its length has 16 bits."""

LOCAL: Final = struct.Struct("<4s22sHH")
"""The header before a member; the last two numbers are the lengths of its name and of what follows
the name."""

LOCAL_MAGIC: Final = b"PK\3\4"

LOCAL_CHECKSUM: Final = 14
"""Where the checksum is in it."""

LISTED: Final = struct.Struct("<4s12s12sHHH12s")
"""The header of a member in the list at the end; the three numbers are lengths of what follows."""

LISTED_CHECKSUM: Final = 16

DESCRIPTOR_MAGIC: Final = b"PK\7\x08"
"""What may stand before the checksum where that follows a member."""

CHECKSUM: Final = struct.Struct("<I")

ENCRYPTED, CHECKSUM_FOLLOWS = 1, 8
"""Flags of a member."""


def opened(budget: Budget, content: Content) -> zipfile.ZipFile:
    """Open an archive, or refuse it as `check_members` does; its members are read later.

    Parameters
    ----------
    budget
        The bytes that the file may become; the members take what they unpack to.
    content
        Its bytes.

    Returns
    -------
    zipfile.ZipFile
        With members that do not lead elsewhere, each name once.

    Raises
    ------
    FileError
        Naming the member.
    """
    file = budget.file
    with guard(file, "zipfile"):
        archive = zipfile.ZipFile(content.stream())
    entries = archive.infolist()
    for entry in entries:
        place = f"member {entry.filename}"
        check_name(file, entry.filename)
        if entry.compress_type not in METHODS:
            raise FileError.compressed(file, place, entry.compress_type)
        budget.take(place, entry.file_size + OVERHEAD)
    names = [entry.filename for entry in entries]
    if len(set(names)) < len(names):
        raise FileError.malformed(file, "members", "have names that differ", "the same name twice")
    return archive


def check_members(budget: Budget, data: bytes) -> None:
    """Refuse an archive whose members lead elsewhere, or unpack to more than the file may become.

    Parameters
    ----------
    budget
        The bytes that the file may become; the members take what they unpack to.
    data
        Its bytes.

    Raises
    ------
    FileError
        Naming the member.
    """
    opened(budget, InMemory(data)).close()


def check_name(file: str, name: str) -> None:
    """Refuse a member that leads elsewhere, on reading as on writing.

    Parameters
    ----------
    file
        The archive's name, for messages.
    name
        The member's.

    Raises
    ------
    FileError
        Naming the member.
    """
    parts = {*PurePosixPath(name).parts, *PureWindowsPath(name).parts}
    leads_out = ".." in parts or PureWindowsPath(name).drive
    if leads_out or name.startswith(("/", "\\")):
        raise FileError.outside(file, "member", name)


def members(budget: Budget, data: bytes) -> dict[str, bytes]:
    """Read all members of an archive.

    Parameters
    ----------
    budget
        The bytes that the file may become.
    data
        Its bytes.

    Returns
    -------
    dict
        Name to content.

    Raises
    ------
    FileError
        If it is damaged, or not to be trusted.
    """
    check_members(budget, data)
    return contents(budget.file, data)


def contents(file: str, data: bytes) -> dict[str, bytes]:
    """Return the content of all members of an archive that `check_members` has let pass."""
    with guard(file, "zipfile"), zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {entry.filename: archive.read(entry) for entry in archive.infolist()}


def span_of(file: str, place: str, content: Content, entry: zipfile.ZipInfo) -> tuple[int, int]:
    """Return where the bytes of a member begin and end that is not compressed.

    Parameters
    ----------
    file, place
        For messages.
    content
        The archive.
    entry
        The member.

    Returns
    -------
    tuple of int
        The end may be behind that of the archive, if it is damaged.

    Raises
    ------
    FileError
        If it has no header, or is encrypted.
    """
    head = bytes(content.part(entry.header_offset, entry.header_offset + LOCAL.size))
    if len(head) < LOCAL.size or not head.startswith(LOCAL_MAGIC):
        got = f"no header at {entry.header_offset}"
        raise FileError.malformed(file, place, "follow its header", got)
    if entry.flag_bits & ENCRYPTED:
        raise FileError.malformed(file, place, "be readable without a password", "encrypted bytes")
    _, _, named, more = LOCAL.unpack(head)
    start = entry.header_offset + LOCAL.size + named + more
    return start, start + entry.file_size


def replaced(data: bytes, changed: Mapping[str, bytes]) -> bytes:
    """Return an archive with some members' content replaced, all else as it was.

    Parameters
    ----------
    data
        The archive, which was read before.
    changed
        New content by member.

    Returns
    -------
    bytes
        The new archive: the same members, in the same order, compressed or not as before. Members
        that are not compressed are written over in place if their lengths stay. Where every content
        is the old one, the bytes that were given.
    """
    with zipfile.ZipFile(io.BytesIO(data)) as old:
        entries = {old.getinfo(name): content for name, content in changed.items()}
        differing = {e: new for e, new in entries.items() if _content(data, old, e) != new}
        if not differing:
            return data
        if all(_has_room(entry, content) for entry, content in differing.items()):
            return _written_over(data, old, differing)
        return _written_anew(old, changed)


def _has_room(entry: zipfile.ZipInfo, content: bytes) -> bool:
    return entry.compress_type == zipfile.ZIP_STORED and entry.file_size == len(content)


def _content(data: bytes, archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> bytes:
    if entry.compress_type != zipfile.ZIP_STORED:
        return archive.read(entry)
    start, end = span_of("", entry.filename, InMemory(data), entry)
    return data[start:end]


def _written_over(
    data: bytes, old: zipfile.ZipFile, differing: Mapping[zipfile.ZipInfo, bytes]
) -> bytes:
    """Write over members in place, and put their checksums right."""
    new = bytearray(data)
    at = old.start_dir
    for entry in old.infolist():
        if entry in differing:
            start, end = span_of("", entry.filename, InMemory(data), entry)
            new[start:end] = differing[entry]
            before, after = map(CHECKSUM.pack, (entry.CRC, zlib.crc32(differing[entry])))
            for place in (_checksum_beside(data, entry, end), at + LISTED_CHECKSUM):
                if data[place : place + CHECKSUM.size] == before:
                    new[place : place + CHECKSUM.size] = after
        at += LISTED.size + sum(LISTED.unpack_from(data, at)[3:6])
    return bytes(new)


def _checksum_beside(data: bytes, entry: zipfile.ZipInfo, end: int) -> int:
    """Return where the checksum of a member is that is not in the list: before it or behind it."""
    if not entry.flag_bits & CHECKSUM_FOLLOWS:
        return entry.header_offset + LOCAL_CHECKSUM
    return end + len(DESCRIPTOR_MAGIC) * (data[end : end + 4] == DESCRIPTOR_MAGIC)


def _written_anew(old: zipfile.ZipFile, changed: Mapping[str, bytes]) -> bytes:
    new = io.BytesIO()
    with zipfile.ZipFile(new, "w") as archive:
        archive.comment = old.comment
        for entry in old.infolist():
            content = changed.get(entry.filename)
            archive.writestr(entry, old.read(entry) if content is None else content)
    return new.getvalue()

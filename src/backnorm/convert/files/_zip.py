"""Zip archives: read into memory under limits, and never unpacked to the disk."""

from __future__ import annotations

import io
import zipfile
from pathlib import PurePosixPath, PureWindowsPath
from typing import TYPE_CHECKING, Final

from backnorm.convert.files._guard import guard
from backnorm.errors import FileError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["check_members", "check_name", "members", "replaced"]

LARGEST_RATIO: Final = 100
"""Weights shrink by a tenth or so; data that shrinks to a hundredth does not hold weights."""

ALWAYS_ALLOWED: Final = 1 << 24
"""Bytes unpacked, however small the archive: arrays of zeros shrink to almost nothing."""


def check_members(file: str, data: bytes) -> None:
    """Refuse an archive whose members lead elsewhere, or unpack to something huge.

    Parameters
    ----------
    file
        Its name, for messages.
    data
        Its bytes.

    Raises
    ------
    FileError
        Naming the member.
    """
    with guard(file, "zipfile"), zipfile.ZipFile(io.BytesIO(data)) as archive:
        entries = archive.infolist()
    room = LARGEST_RATIO * len(data) + ALWAYS_ALLOWED
    for entry in entries:
        check_name(file, entry.filename)
        room -= entry.file_size
        if room < 0:
            raise FileError.too_large(
                file, f"member {entry.filename}", entry.file_size, room + entry.file_size
            )
    names = [entry.filename for entry in entries]
    if len(set(names)) < len(names):
        raise FileError.malformed(file, "members", "have names that differ", "the same name twice")


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


def members(file: str, data: bytes) -> dict[str, bytes]:
    """Read all members of an archive.

    Parameters
    ----------
    file
        Its name, for messages.
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
    check_members(file, data)
    with guard(file, "zipfile"), zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {entry.filename: archive.read(entry) for entry in archive.infolist()}


def replaced(data: bytes, contents: Mapping[str, bytes]) -> bytes:
    """Return an archive with some members' content replaced, all else as it was.

    Parameters
    ----------
    data
        The archive.
    contents
        New content by member.

    Returns
    -------
    bytes
        The new archive: the same members, in the same order, compressed or not as before. Where
        every content is the old one, the bytes that were given.
    """
    new = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(new, "w") as archive:
        if all(old.read(name) == content for name, content in contents.items()):
            return data
        archive.comment = old.comment
        for entry in old.infolist():
            content = contents.get(entry.filename)
            archive.writestr(entry, old.read(entry) if content is None else content)
    return new.getvalue()

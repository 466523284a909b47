"""Read a file that is a file: a pipe would wait for its writer, and a device never ends."""

from __future__ import annotations

import os
import stat
from pathlib import PureWindowsPath
from typing import TYPE_CHECKING, BinaryIO, Final

from backnorm.errors import FileError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["beside", "kind_of", "open_regular", "read_regular"]

FOLDER: Final = "a directory"

NOT_REGULAR: Final = {
    stat.S_IFDIR: FOLDER,
    stat.S_IFIFO: "a pipe",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFSOCK: "a socket",
}

NO_WAIT: Final = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
"""Without it, opening a pipe waits for a writer. Files are the same with it."""


def kind_of(mode: int) -> str:
    """Return what is there in place of a file, by its mode; nothing if it is a file."""
    return "" if stat.S_ISREG(mode) else NOT_REGULAR.get(stat.S_IFMT(mode), "something else")


def open_regular(path: Path) -> BinaryIO:
    """Open a file for reading, if it is one.

    Parameters
    ----------
    path
        The file, or a link to it.

    Returns
    -------
    BinaryIO
        Its bytes.

    Raises
    ------
    FileError
        If something else is there, or the operating system refuses.
    """
    try:
        number = os.open(path, os.O_RDONLY | NO_WAIT)
        kind = kind_of(os.fstat(number).st_mode)  # of what is open: the name may change meanwhile
        if not kind:
            return os.fdopen(number, "rb")
        os.close(number)
    except (OSError, ValueError) as error:  # ValueError: a name with a NUL
        raise FileError.unreadable(path.name, error) from error
    name = path.name or str(path)
    if kind == FOLDER:
        raise FileError.folder(name)
    raise FileError.irregular_source(name, kind)


def read_regular(path: Path) -> bytes:
    """Return all bytes of a file; see `open_regular`."""
    with open_regular(path) as stream:
        try:
            return stream.read()
        except OSError as error:
            raise FileError.unreadable(path.name, error) from error


def beside(path: Path, place: str, location: str) -> Path:
    """Return a file that another file names, if it is in its folder.

    Parameters
    ----------
    path
        The file that names it.
    place
        Where it does so, for messages.
    location
        The name.

    Returns
    -------
    Path
        The file beside.

    Raises
    ------
    FileError
        If it is elsewhere, also by way of a link.
    """
    if not location or "\0" in location or PureWindowsPath(location).drive:
        raise FileError.outside(path.name, place, location)
    folder = path.parent.resolve()
    file = folder / location
    if not file.resolve().is_relative_to(folder):
        raise FileError.outside(path.name, place, location)
    return file

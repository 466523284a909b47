"""Write a file whole or not at all."""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from backnorm.convert.files._regular import kind_of
from backnorm.convert.files._temporary import create, remove_stale
from backnorm.errors import FileError, WriteError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["refuse_irregular", "write_whole"]

RENAMES_OPEN: Final = os.name != "nt"

PRIVATE: Final = 0o600
NEW: Final = 0o666
"""Permissions of a temporary file whose target is there, and of one whose target is new: the system
takes away what the user's umask says."""

NO_FOLDER_SYNC: Final = (errno.EINVAL, errno.ENOTSUP, errno.EACCES, errno.EBADF, errno.EISDIR)
"""What systems say that do not synchronize folders, or not this user's."""


def write_whole(path: Path, data: bytes) -> None:
    """Write beside the file, have it on the disk, then rename: there is the old file or the new.

    Parameters
    ----------
    path
        The file, or a link to it; the new one gets the permissions of the old.
    data
        All of its bytes.

    Raises
    ------
    FileError
        If something else than a file is there, or the operating system refuses; what was there
        is as it was.
    """
    try:
        target, mode = _target(path)
        _replace(target, mode, data)
    except FileError:
        raise
    except (OSError, ValueError) as error:  # ValueError: a name with a NUL
        raise WriteError.unwritable(str(path), error) from error
    try:
        _sync_folder(target.parent)
    except OSError as error:
        raise WriteError.unsynchronized(str(path), error) from error


def refuse_irregular(path: Path) -> Path:
    """Return where links lead, or raise FileError if something else than a file is there."""
    return _target(path)[0]


def _target(path: Path) -> tuple[Path, int | None]:
    """Return where links lead, and the permissions of the file that is there, if one is."""
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return path.resolve(), None
    kind = kind_of(mode)
    if kind:
        raise WriteError.not_regular(path.name, kind)
    return path.resolve(), stat.S_IMODE(mode)


def _replace(path: Path, mode: int | None, data: bytes) -> None:
    remove_stale(path.parent)
    beside, file = create(path.parent, NEW if mode is None else PRIVATE)
    try:
        with file:
            if mode is not None:
                beside.chmod(mode)  # before there is anything in it to read
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
            if RENAMES_OPEN:  # which keeps it locked until it has its name
                beside.replace(path)
        if not RENAMES_OPEN:
            beside.replace(path)
    except BaseException:  # Ctrl-C too, and the exit of a command that is told to end
        with suppress(OSError):  # such as a parent that is a file: then there is nothing
            beside.unlink(missing_ok=True)
        raise


def _sync_folder(folder: Path) -> None:
    """Have the new name on the disk too: without this a power failure could bring the old back."""
    try:
        number = os.open(folder, os.O_RDONLY)
    except OSError as error:
        if error.errno in NO_FOLDER_SYNC:
            return
        raise
    try:
        os.fsync(number)
    except OSError as error:
        if error.errno not in NO_FOLDER_SYNC:
            raise
    finally:
        os.close(number)

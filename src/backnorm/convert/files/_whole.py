"""Write a file whole or not at all."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, Final

from backnorm.errors import FileError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["refuse_irregular", "write_whole"]


NOT_REGULAR: Final = {
    stat.S_IFDIR: "a directory",
    stat.S_IFIFO: "a pipe",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFSOCK: "a socket",
}


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
    except OSError as error:
        raise FileError.unwritable(path.name, error) from error


def refuse_irregular(path: Path) -> Path:
    """Return where links lead, or raise FileError if something else than a file is there."""
    return _target(path)[0]


def _target(path: Path) -> tuple[Path, int | None]:
    """Return where links lead, and the permissions of the file that is there, if one is."""
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return path.resolve(), None
    if not stat.S_ISREG(mode):
        kind = NOT_REGULAR.get(stat.S_IFMT(mode), "something else")
        raise FileError.not_regular(path.name, kind)
    return path.resolve(), stat.S_IMODE(mode)


def _replace(path: Path, mode: int | None, data: bytes) -> None:
    beside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with beside.open("xb") as file:
            if mode is not None:
                beside.chmod(mode)  # before there is anything in it to read
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    finally:
        _remove(beside)


def _remove(path: Path) -> None:
    """Remove what may not be there, nor its folder."""
    try:
        path.unlink(missing_ok=True)
    except OSError:  # such as a parent that is a file: then there is nothing to remove
        return

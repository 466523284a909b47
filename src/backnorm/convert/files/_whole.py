"""Write a file whole or not at all."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from backnorm.errors import FileError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["write_whole"]


def write_whole(path: Path, data: bytes) -> None:
    """Write beside the file, have it on the disk, then rename: there is the old file or the new.

    Parameters
    ----------
    path
        The file.
    data
        All of its bytes.

    Raises
    ------
    FileError
        If the operating system refuses; the old file, if there is one, is as it was.
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with beside.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except OSError as error:
        raise FileError.unwritable(path.name, error) from error
    finally:
        _remove(beside)


def _remove(path: Path) -> None:
    """Remove what may not be there, nor its folder."""
    try:
        path.unlink(missing_ok=True)
    except OSError:  # such as a parent that is a file: then there is nothing to remove
        return

"""Write a text file, completely or not at all."""

from __future__ import annotations

import tempfile
from typing import TYPE_CHECKING

from backnorm.convert.files._whole import refuse_irregular, write_whole
from backnorm.errors import WriteError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["refuse_unwritable", "write_atomically"]


def refuse_unwritable(path: Path) -> None:
    """Raise FileError if `write_atomically` would, before the text is known.

    Permissions do not tell enough, in particular for root: a temporary file is made in the folder.
    """
    try:
        folder = refuse_irregular(path).parent
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise WriteError.unwritable(str(path), error) from error


def write_atomically(path: Path, text: str) -> None:
    """Write text beside the file, then rename it: readers see the old file or the new file."""
    write_whole(path, text.encode())

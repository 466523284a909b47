"""Write a file of text whole or not at all."""

from __future__ import annotations

from typing import TYPE_CHECKING

from backnorm.convert.files._whole import write_whole

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["write_atomically"]


def write_atomically(path: Path, text: str) -> None:
    """Write text beside the file, then rename it: readers see the old file or the new one."""
    write_whole(path, text.encode())

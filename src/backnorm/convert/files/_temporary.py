"""Temporary files: each belongs to one writer, and those of writers that were killed are removed.

A writer locks its file as long as it has it open. The system frees the lock when the process ends,
however it ends, so a temporary file that can be locked has no writer left.
"""

from __future__ import annotations

import os
import re
import secrets
from contextlib import suppress
from typing import TYPE_CHECKING, BinaryIO, Final

try:
    import fcntl
except ImportError:  # Windows: nothing is removed there
    LOCKS = False
else:
    LOCKS = True

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["create", "remove_stale"]

NAME: Final = re.compile(r"\.backnorm-[0-9a-f]{16}\.tmp")

OWN: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
"""A file that was not there: two writers, threads or processes, never have the same one."""

NO_FOLLOW: Final = os.O_WRONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
"""Somebody may have put a link or a pipe under such a name."""


def create(folder: Path, mode: int) -> tuple[Path, BinaryIO]:
    """Create a temporary file that nobody else has.

    Parameters
    ----------
    folder
        Where.
    mode
        Its permissions, from which the system takes what the user's umask says.

    Returns
    -------
    tuple of Path and BinaryIO
        The file, open for writing; it is locked until it is closed.
    """
    while True:
        path = folder / f".backnorm-{secrets.token_hex(8)}.tmp"
        number = os.open(path, OWN, mode)
        try:
            if _lock(number) and _is_there(path, number):
                return path, os.fdopen(number, "wb")
        except BaseException:
            os.close(number)
            path.unlink(missing_ok=True)
            raise
        os.close(number)  # another writer took it for stale before it was locked


def remove_stale(folder: Path) -> None:
    """Remove the temporary files whose writers were killed; what cannot be removed stays."""
    for path in _candidates(folder):
        with suppress(OSError):
            number = os.open(path, NO_FOLLOW)
            try:
                if LOCKS and _lock(number, unsupported=False):
                    path.unlink()
            finally:
                os.close(number)


def _candidates(folder: Path) -> Iterator[Path]:
    with suppress(OSError):
        yield from [path for path in folder.iterdir() if NAME.fullmatch(path.name)]


def _lock(number: int, *, unsupported: bool = True) -> bool:
    """Lock an open file, and tell whether it is locked, or else what stands for `unsupported`."""
    if not LOCKS:
        return unsupported
    try:
        fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks
        return unsupported
    return True


def _is_there(path: Path, number: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(number))
    except FileNotFoundError:
        return False

"""Turn whatever a format's library raises on a damaged file into one kind of error."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from backnorm.errors import BacknormError, FileError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["guard"]


@contextmanager
def guard(file: str, library: str) -> Iterator[None]:
    """Turn all that a library raises into a FileError that names the file and the library.

    Libraries do not promise a type of exception for a damaged file: h5py alone has raised
    OSError, KeyError, ValueError, TypeError, RuntimeError and UnicodeDecodeError.
    """
    try:
        yield
    except BacknormError:
        raise
    except Exception as error:
        raise FileError.library(file, library, error) from error

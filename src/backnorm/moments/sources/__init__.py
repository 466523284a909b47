"""Arrays in files, piece by piece: one module per format."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Final

from backnorm.errors import FileError, NotInstalledError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from backnorm.moments.sources.piece import Piece

__all__ = ["pieces"]

SOURCES: Final = {
    ".npy": "npy",
    ".npz": "npz",
    ".safetensors": "safetensors",
    ".parquet": "parquet",
    ".zarr": "zarr",
    ".moments": "saved",
}
"""The module of each suffix, which is loaded when such a file is read."""

NEEDED: Final = {
    "safetensors": ("safetensors", "files"),
    "parquet": ("pyarrow", "data"),
    "zarr": ("zarr", "data"),
}
"""What a module needs beside NumPy, and the extra that brings it."""


def pieces(path: Path, channel_axis: int) -> Iterator[Piece]:
    """Yield the moments of a file, some megabytes at a time.

    Raises
    ------
    FileError
        A suffix that no source has, or a file that cannot be read.
    """
    name = SOURCES.get(path.suffix.lower())
    if name is None:
        raise FileError.no_source(path.name, SOURCES)
    try:
        source = import_module(f"{__name__}.{name}")
    except ImportError as error:
        raise NotInstalledError.package(*NEEDED[name], f"Reading {path.name}") from error
    try:
        yield from source.pieces(path, channel_axis)
    except OSError as error:
        raise FileError.unreadable(path.name, error) from error

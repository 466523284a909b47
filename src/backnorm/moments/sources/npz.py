"""NumPy's .npz: a zip file of arrays, each of which is read whole."""

from __future__ import annotations

import zipfile
from typing import TYPE_CHECKING

import numpy as np

from backnorm.errors import FileError
from backnorm.moments.sources.piece import Piece, moments_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["pieces"]


def pieces(path: Path, channel_axis: int) -> Iterator[Piece]:
    """Yield the moments of each array."""
    try:
        with np.load(path, allow_pickle=False) as arrays:
            for name in arrays.files:
                values = arrays[name]
                yield Piece(name, moments_of(values, channel_axis), values.nbytes)
    except (ValueError, EOFError, zipfile.BadZipFile) as error:
        raise FileError.library(path.name, "numpy", error) from error

"""NumPy's .npy: one array, of which the system maps the pieces that are read."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from backnorm.errors import FileError
from backnorm.moments.sources.piece import Piece, cuts, moments_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["pieces"]


def pieces(path: Path, channel_axis: int) -> Iterator[Piece]:
    """Yield the moments of the array."""
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise FileError.library(path.name, "numpy", error) from error
    for cut in cuts(array.shape, array.itemsize, channel_axis):
        values = np.asarray(array[cut])
        yield Piece("", moments_of(values, channel_axis), values.nbytes)

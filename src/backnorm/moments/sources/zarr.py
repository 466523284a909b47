"""Zarr: a folder of one array, or of groups of named arrays, which are read in slices."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import zarr

from backnorm.errors import BacknormError, FileError
from backnorm.moments.sources.piece import Piece, cuts, moments_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["pieces"]


def pieces(path: Path, channel_axis: int) -> Iterator[Piece]:
    """Yield the moments of each array; its name has the groups that it is in, as in "a/b"."""
    try:
        for name, array in _arrays(zarr.open(str(path), mode="r"), ""):
            for cut in cuts(array.shape, array.dtype.itemsize, channel_axis):
                values = np.asarray(array[cut])
                yield Piece(name, moments_of(values, channel_axis), values.nbytes)
    except BacknormError:
        raise
    except Exception as error:
        # Of a damaged folder it raises whatever its codecs and its parser of JSON raise.
        raise FileError.library(path.name, "zarr", error) from error


def _arrays(node: Any, name: str) -> Iterator[tuple[str, Any]]:
    """Yield the arrays in a group and below it; an array is one without a name."""
    if not hasattr(node, "arrays"):
        yield name, node
        return
    prefix = f"{name}/" if name else ""
    for key, array in sorted(node.arrays()):
        yield f"{prefix}{key}", array
    for key, group in sorted(node.groups()):
        yield from _arrays(group, f"{prefix}{key}")

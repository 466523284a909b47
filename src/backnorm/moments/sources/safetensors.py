"""Safetensors: named arrays, of which the library reads slices."""

from __future__ import annotations

from typing import TYPE_CHECKING

from safetensors import SafetensorError, safe_open

from backnorm.errors import FileError
from backnorm.moments.sources.piece import Piece, cuts, moments_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["pieces"]


def pieces(path: Path, channel_axis: int) -> Iterator[Piece]:
    """Yield the moments of each array."""
    try:
        with safe_open(path, framework="numpy") as file:
            for name in file.keys():  # noqa: SIM118 - it is not a mapping
                part = file.get_slice(name)
                shape = tuple(part.get_shape())
                if not shape:
                    values = file.get_tensor(name)
                    yield Piece(name, moments_of(values, channel_axis), values.nbytes)
                    continue
                for cut in cuts(shape, 8, channel_axis):
                    values = part[cut]
                    yield Piece(name, moments_of(values, channel_axis), values.nbytes)
    except SafetensorError as error:
        raise FileError.library(path.name, "safetensors", error) from error

"""What `backnorm moments --out` has written: `Moments.to_bytes`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from backnorm.moments.moments import Moments
from backnorm.moments.sources.piece import Piece

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["pieces"]


def pieces(path: Path, channel_axis: int) -> Iterator[Piece]:  # noqa: ARG001 - they have channels
    """Yield the moments."""
    data = path.read_bytes()
    yield Piece("", Moments.from_bytes(data), len(data))

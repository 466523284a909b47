"""What a source yields, and how an array is cut."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from backnorm.moments.moments import Moments

if TYPE_CHECKING:
    from collections.abc import Iterator

    from backnorm._types import AnyArray, Shape

__all__ = ["Piece", "cuts", "moments_of"]

BYTES: Final = 1 << 25
"""Of a piece: 32 MB."""


class Piece(NamedTuple):
    """The moments of some values of a file.

    Attributes
    ----------
    name
        The array that they belong to; empty where a file has one only.
    moments
        Those of the piece.
    size
        How many bytes of the file it is.
    """

    name: str
    moments: Moments
    size: int


def moments_of(values: AnyArray, channel_axis: int) -> Moments:
    """Return the moments of some values."""
    made = Moments()
    made.update(values, channel_axis=channel_axis)
    return made


def cuts(shape: Shape, itemsize: int, channel_axis: int) -> Iterator[tuple[slice, ...]]:
    """Yield the slices of pieces: along the first axis that does not hold the channels."""
    others = [axis for axis in range(len(shape)) if axis != channel_axis % max(len(shape), 1)]
    if not others or 0 in shape:
        yield (slice(None),) * len(shape)
        return
    axis = others[0]
    row = itemsize
    for k, length in enumerate(shape):
        row *= 1 if k == axis else length
    step = max(1, BYTES // row)
    for begin in range(0, shape[axis], step):
        yield tuple(
            slice(begin, begin + step) if k == axis else slice(None) for k in range(len(shape))
        )

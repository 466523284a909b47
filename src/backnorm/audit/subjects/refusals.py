"""Where a subject raises on every shape: the shape whose error says most about it."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

    from backnorm.errors import SubjectError

__all__ = ["ABOUT_SHAPES", "most_telling"]

ABOUT_SHAPES: Final = re.compile(
    r"\d ?D\b|\bdim|\bndim|\brank\b|\bshape|\bsize|\baxis|\baxes|\bbroadcast|\bchannel|\blength"
    r"|not enough values|too many values|out of range|\bpermut|\btranspos|\bmust match",
    re.IGNORECASE,
)
"""Words of an error that refuses a shape, as layers for images refuse sequences."""


def most_telling(errors: Sequence[SubjectError | None]) -> int:
    """Return the place of the error that says most.

    Parameters
    ----------
    errors
        What a subject raised on each shape that was tried, in order; None where the forward pass
        ran, and the error is that of the backward pass.

    Returns
    -------
    int
        The shape with which the subject came furthest: the first whose forward pass ran. Otherwise
        the first error that does not speak of shapes, or else the one that is raised most often.

    Examples
    --------
    >>> from backnorm.errors import SubjectError
    >>> refused = SubjectError.raised("f", ValueError("expected 2D or 3D input (got 4D input)"))
    >>> most_telling([refused, SubjectError.raised("f", NameError("mu is not defined")), refused])
    1
    """
    said = Counter(error.got for error in errors if error is not None)

    def rank(place: int) -> tuple[bool, bool, int]:
        error = errors[place]
        if error is None:
            return False, False, 0
        return True, bool(ABOUT_SHAPES.search(error.got)), -said[error.got]

    return min(range(len(errors)), key=rank)

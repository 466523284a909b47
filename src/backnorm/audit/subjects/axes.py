"""The order of the axes of x: where a subject has its channels, and where the audit has them.

The audit itself knows one order for each kind: (N, C, ...) for batch, group and instance, and
(N, ..., C) for layer and rms. A subject with another order is called through a `Runner` that moves
the axis.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from backnorm.errors import RangeError

if TYPE_CHECKING:
    from backnorm.audit.kinds import Kind

__all__ = ["Axes", "read_axes"]

FORM: Final = re.compile(r"[NB](C([A-Z]*|\.\.\.)|([A-Z]+|\.\.\.)C[A-Z]*)")
"""N or B for the samples, C for the channels, and another letter or ... for each other axis."""


@dataclass(frozen=True, slots=True)
class Axes:
    """Where the channels are.

    Attributes
    ----------
    text
        As the user writes it, such as NTC.
    channels
        Place of the channels among the axes of x; -1 where they are the last.
    others
        How many axes there are beside samples and channels; None for any number.
    """

    text: str
    channels: int
    others: int | None = None

    def moved(self, kind: Kind) -> tuple[int, int] | None:
        """Return from where to where the audit's axis of channels has to be moved, if it has to."""
        own = -1 if kind in ("layer", "rms") else 1
        return None if self.channels == own else (own, self.channels)


def read_axes(text: str) -> Axes:
    """Read the order of the axes.

    Parameters
    ----------
    text
        A letter for each axis: N or B for the samples, which come first, C for the channels, and
        any other for what is left, once each. ``...`` stands for any number of others.

    Returns
    -------
    Axes
        The order.

    Raises
    ------
    RangeError
        If the text does not have this form.

    Examples
    --------
    >>> read_axes("NHWC").channels, read_axes("NTC").others, read_axes("N...C").others
    (-1, 1, None)
    """
    letters = text.upper().replace(",", "").replace(" ", "")
    names = letters.replace("...", "")
    if FORM.fullmatch(letters) is None or len(set(names)) < len(names):
        raise RangeError.axes(text)
    place = names.index("C")
    last = letters.endswith("C") and len(letters) > 2  # noqa: PLR2004 - more than NC
    return Axes(text, -1 if last else place, None if "..." in letters else len(names) - 2)

"""How many bytes a file may become in memory: a limit for the whole file, not for each array."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from backnorm.errors import FileError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from backnorm.convert.files._content import Content
    from backnorm.convert.files.record import Setting

__all__ = ["FLOOR", "OVERHEAD", "TIMES", "Budget", "Source", "budget_of"]

TIMES: Final = 4
"""Weights shrink by a tenth or so in an archive; the other three are for copies in another order of
bytes or of axes."""

FLOOR: Final = 1 << 24
"""Bytes that any file may become, however small: arrays of zeros shrink to almost nothing."""

OVERHEAD: Final = 512
"""Bytes for an array besides its values: its name, its place in the file, NumPy's header. A damaged
file can claim an array with every few of its bytes."""


@dataclass(slots=True)
class Budget:
    """The bytes that a file may still become.

    Attributes
    ----------
    file
        Its name, for messages.
    left
        How many bytes.
    """

    file: str
    left: float
    given: bool = False
    """Whether the caller has chosen the limit; what a file has beside it does not raise it then."""

    def take(self, place: str, size: int) -> None:
        """Take bytes for a place in the file.

        Raises
        ------
        FileError
            If fewer are left.
        """
        if size > self.left:
            raise FileError.over_budget(self.file, place, size, int(self.left), TIMES, FLOOR >> 20)
        self.left -= size

    def grow(self, size: int) -> None:
        """Add what a file beside this one has, such as ONNX's external data."""
        if not self.given:
            self.left += TIMES * size


def budget_of(file: str, size: int, memory: int | None) -> Budget:
    """Return the budget of a file.

    Parameters
    ----------
    file
        Its name, for messages.
    size
        Its size in bytes.
    memory
        The limit that the caller has chosen; None for `TIMES` its size and `FLOOR`.

    Returns
    -------
    Budget
        Of which nothing is taken yet.
    """
    return Budget(file, TIMES * size + FLOOR if memory is None else memory, memory is not None)


@dataclass(frozen=True, slots=True, eq=False)
class Source:
    """What a reader reads.

    Attributes
    ----------
    path
        The file, for messages, and for what lies beside.
    content
        Its bytes.
    net
        The file that describes the network where that is another one, or None to look beside.
    budget
        The bytes that it may become.
    """

    path: Path
    content: Content
    net: Path | None
    budget: Budget
    settings: Sequence[Setting] = ()
    """What the caller says of the layers; see `with_options`."""
    inspected: bool = False
    """Whether the file is only looked at: then a file that names code is described, not refused."""

    @property
    def data(self) -> bytes:
        """All bytes, for a format that cannot be read piece by piece."""
        return self.content.whole()

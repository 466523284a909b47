"""What the reports of a conversion share: counts, and a table with a row for each layer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from rich.text import Text

from backnorm._display import Displayed
from backnorm.report._lines import Column
from backnorm.report.display import Display

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["NOT_CONVERTED", "LayerCounts", "shown"]

NOT_CONVERTED: Final = "not converted yet: convert(model) does that"
"""Why a layer that can be converted is what it was."""

WIDEST: Final = 160
"""Characters of a line of the table; a longer reason continues on the next line."""


class LayerCounts(Displayed):
    """A report that counts its entries, one for each layer of a model."""

    __slots__ = ()
    entries: tuple[Any, ...]

    @property
    def converted(self) -> int:
        """How many layers the engine normalizes."""
        return sum(entry.converted for entry in self.entries)

    @property
    def left_alone(self) -> int:
        """How many layers were not converted."""
        return len(self.entries) - self.converted


def shown(counts: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> Display:
    """Return what is shown of a report: a row begins with the layer's name, and ends with reasons.

    Parameters
    ----------
    counts
        How many layers were converted, in words.
    columns
        The heads of the table.
    rows
        A cell for each column. The name of the model itself is "".
    """
    *short, long = columns
    heads = [*map(Column, short), Column(long, wraps=True)]
    cells = [[Text(cell) for cell in (name or "(the model)", *others)] for name, *others in rows]
    return Display(counts, heads, cells, [counts], WIDEST)

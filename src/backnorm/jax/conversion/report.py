"""The report of a conversion, layer by layer."""

from __future__ import annotations

from dataclasses import astuple, dataclass
from typing import Any, Final

from rich.text import Text

from backnorm._display import Displayed
from backnorm.report._lines import Column
from backnorm.report.display import Display, display_of

__all__ = ["ConversionRow", "JaxReport"]

WIDEST: Final = 160
"""Characters of a line of the table; a longer reason continues on the next line."""

COLUMNS: Final = ("layer", "was", "now", "why not")


@dataclass(frozen=True, slots=True)
class ConversionRow:
    """What a conversion did to one layer.

    Attributes
    ----------
    name
        Where it is in the model; "" for the model itself.
    was
        Its class before the conversion.
    now
        Its class now; the same as before if it was left alone.
    why
        Why it was left alone; "" for a layer that was converted, or can be.
    """

    name: str
    was: str
    now: str
    why: str = ""

    @property
    def converted(self) -> bool:
        """Whether the engine normalizes here."""
        return self.now.startswith("backnorm.")


@dataclass(frozen=True, slots=True, repr=False)
class JaxReport(Displayed):
    """What a conversion did to each batch normalization of a model of flax.nnx or Equinox.

    Print it to see a table; a notebook shows one.

    Attributes
    ----------
    model
        The model.
    entries
        One for each layer, in the order of the model.
    """

    model: Any
    entries: tuple[ConversionRow, ...]

    @property
    def converted(self) -> int:
        """How many layers the engine normalizes."""
        return sum(entry.converted for entry in self.entries)

    @property
    def left_alone(self) -> int:
        """How many layers were not converted."""
        return len(self.entries) - self.converted

    def counts(self) -> str:
        """Say how many layers were converted and left alone."""
        return f"{self.converted} of {len(self.entries)} converted, {self.left_alone} left alone"


@display_of.register
def _(report: JaxReport) -> Display:
    *short, long = COLUMNS
    columns = [*map(Column, short), Column(long, wraps=True)]
    rows = [
        [Text(cell) for cell in (name or "(the model)", *cells)]
        for name, *cells in map(astuple, report.entries)
    ]
    return Display(report.counts(), columns, rows, [report.counts()], WIDEST)

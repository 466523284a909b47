"""The report of a conversion, layer by layer."""

from __future__ import annotations

from dataclasses import astuple, dataclass
from typing import Any, Final

from backnorm.report.conversions import LayerCounts, shown
from backnorm.report.display import Display, display_of

__all__ = ["ConversionRow", "JaxReport"]

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
        Why it was left alone; "" for a layer that was converted.
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
class JaxReport(LayerCounts):
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

    def counts(self) -> str:
        """Say how many layers were converted and left alone."""
        return f"{self.converted} of {len(self.entries)} converted, {self.left_alone} left alone"


@display_of.register
def _(report: JaxReport) -> Display:
    return shown(report.counts(), COLUMNS, map(astuple, report.entries))

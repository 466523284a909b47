"""The report of a conversion, layer by layer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from backnorm.report.conversions import LayerCounts, shown
from backnorm.report.display import Display, display_of

if TYPE_CHECKING:
    from torch import nn

__all__ = ["LayerReport", "Report"]

COLUMNS: Final = ("layer", "was", "now", "through", "fused", "in place", "why not more")


@dataclass(frozen=True, slots=True)
class LayerReport:
    """What a conversion did to one layer.

    Attributes
    ----------
    name
        Its name in the model; "" for the model itself.
    was
        Its class before the conversion.
    now
        Its class now; the same as before if it was left alone.
    through
        Which statistics the gradient of a layer of the engine goes through in training; "" for
        others.
    fused
        The activation in its pass, such as "relu", after "add + " if a residual is added in it; ""
        if nothing is fused.
    in_place
        Whether y takes the memory of x.
    why
        Why it was left alone, or why nothing is fused, or why it does not work in place; "" if
        everything was done.
    """

    name: str
    was: str
    now: str
    through: str = ""
    fused: str = ""
    in_place: bool = False
    why: str = ""

    @property
    def converted(self) -> bool:
        """Whether the engine normalizes here."""
        return self.now.startswith("backnorm.")


@dataclass(frozen=True, slots=True, repr=False)
class Report(LayerCounts):
    """What a conversion did to each batch normalization of a model.

    Print it to see a table; a notebook shows one.

    Attributes
    ----------
    model
        The model, which was changed in place.
    entries
        One for each layer, in the order of the model.
    """

    model: nn.Module
    entries: tuple[LayerReport, ...]

    @property
    def fused(self) -> int:
        """How many of them compute an activation in the same pass."""
        return sum(bool(entry.fused) for entry in self.entries)

    @property
    def in_place(self) -> int:
        """How many of them let y take the memory of x."""
        return sum(entry.in_place for entry in self.entries)

    def counts(self) -> str:
        """Say how many layers were converted, fused, put in place and left alone."""
        return (
            f"{self.converted} of {len(self.entries)} converted, {self.fused} fused, "
            f"{self.in_place} in place, {self.left_alone} left alone"
        )


@display_of.register
def _(report: Report) -> Display:
    return shown(report.counts(), COLUMNS, map(_cells, report.entries))


def _cells(entry: LayerReport) -> tuple[str, ...]:
    in_place = "yes" if entry.in_place else ""
    return (entry.name, entry.was, entry.now, entry.through, entry.fused, in_place, entry.why)

"""How many layers of each architecture the conversion converts and fuses, as a table."""

from __future__ import annotations

from typing import Final

from backnorm.torch import conversion_report, convert
from with_torch.architectures import catalog

__all__ = ["table"]

HEAD: Final = ("architecture", "layers", "converted", "fused")

SIDE_BY_SIDE: Final = 2
"""Architectures in a row, so that the table is not too long."""


def table() -> str:
    """Build each architecture that the tests train, convert it, and count."""
    cells = [_cells(name) for name in (*catalog.TORCHVISION, *catalog.TIMM)]
    half = -(-len(cells) // SIDE_BY_SIDE)
    rows = [sum((cells[at] for at in range(i, len(cells), half)), ()) for i in range(half)]
    lines = [HEAD * SIDE_BY_SIDE, ("---",) * len(HEAD) * SIDE_BY_SIDE, *rows]
    return "".join(f"| {' | '.join(row)} |\n" for row in lines)


def _cells(name: str) -> tuple[str, ...]:
    report = conversion_report(convert(catalog.model(name)))
    counts = (len(report.entries), report.converted, report.fused)
    return (name, *map(str, counts))

"""Every drawn figure of docs/."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import _figure_curves
import _figure_graph
import _figure_split

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["figures"]


def figures(docs: Path) -> dict[Path, str]:
    """Return the text of each figure; measurements come from the files of their runs."""
    rows = json.loads((docs / "performance.json").read_text(encoding="utf-8"))["rows"]
    made = {
        "split": _figure_split.split(),
        "fit": _figure_split.fit(),
        "graph": _figure_graph.graph(),
        "errors": _figure_curves.errors(docs / "numerics.json"),
        "performance": _figure_curves.times(rows),
    }
    return {docs / "figures" / f"{name}.svg": text for name, text in made.items()}

"""What docs/files.md says of each format."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

PAGE = Path(__file__).parents[2] / "docs" / "files.md"
HEAD = "| format | ending | layers of | needs | eps is in the file |"


class Documented(NamedTuple):
    """A row of the table of formats."""

    endings: tuple[str, ...]
    dialects: tuple[str, ...]
    library: str
    eps: str


def _rows() -> dict[str, Documented]:
    lines = PAGE.read_text(encoding="utf-8").partition(HEAD)[2].split("\n\n")[0].splitlines()
    rows = {}
    for line in lines[2:]:
        name, endings, dialects, library, eps = (cell.strip() for cell in line[1:-1].split("|"))
        rows[name.strip("`")] = Documented(
            tuple(ending.strip(" `") for ending in endings.split(",")),
            tuple(dialect.strip() for dialect in dialects.split(",")),
            library,
            eps,
        )
    return rows


DOCUMENTED = _rows()
"""By the names of the formats."""

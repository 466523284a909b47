"""docs/mathematics.md: its labels, and what the reference says of them."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "mathematics.md"
SOURCES = sorted((ROOT / "src" / "backnorm" / "reference").glob("*.py"))


def labels() -> list[int]:
    """The numbers of the equations, in the order of the page."""
    return [int(label) for label in re.findall(r"\\tag\{(\d+)\}", PAGE.read_text())]


def cited(text: str) -> set[int]:
    """Every number in "Eq. (1)", "Eq. (1) to (4)" or "Eq. (24), (25) and (26)"."""
    runs = re.findall(r"Eq\. \(\d+\)(?:(?:,| to| and) \(\d+\))*", text)
    return {int(number) for run in runs for number in re.findall(r"\d+", run)}


def test_labels_count_up_from_one() -> None:
    """The equations are numbered 1, 2, 3 and so on, without a gap."""
    found = labels()
    assert found == list(range(1, len(found) + 1))
    assert found


def test_cited_equations_exist() -> None:
    """The page and the docstrings cite equations that are there, and all but two modules do."""
    assert cited(PAGE.read_text()) <= set(labels())
    citing = [path.name for path in SOURCES if cited(path.read_text())]
    for path in SOURCES:
        assert cited(path.read_text()) <= set(labels()), path.name
    assert len(citing) == len(SOURCES) - 2

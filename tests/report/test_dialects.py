"""The table of dialects as text, and the page made from it."""

from __future__ import annotations

import pytest

from backnorm.dialects import DIALECTS, row_of
from backnorm.report.dialects import to_details, to_page, to_table
from backnorm.report.formulas import formulas
from dialects.layers import GOLDEN


@pytest.mark.parametrize("name", DIALECTS)
def test_all_that_a_row_says_is_shown(name: str) -> None:
    """Title, source, traps and arrays, on the page and in the terminal."""
    row = row_of(name)
    details = " ".join(to_details(name).split())
    page = " ".join(to_page().replace("\\", "").split())
    for text in (row.title, row.source, *row.traps, *(a.name for a in row.arrays.known)):
        assert text in details
        assert text in page


def test_the_table_has_a_line_for_each() -> None:
    """Under its heads and a rule."""
    lines = to_table().splitlines()
    assert [line.split()[0] for line in lines[2:]] == list(DIALECTS)
    assert to_table(["torch"]).splitlines()[2].split() == [
        "torch",
        "momentum=0.1",
        "new",
        "unbiased",
        "forward",
        "eps=1e-05",
        "1",
    ]


def test_no_line_is_wider_than_asked() -> None:
    """But for names that cannot be broken."""
    for name in DIALECTS:
        assert max(map(len, to_details(name, width=80).splitlines()[2:])) <= 90


@pytest.mark.parametrize("name", [name for name in DIALECTS if "formulas" in GOLDEN[name]])
def test_the_formulas_are_those_of_the_row(name: str) -> None:
    """In the framework's names, with what is peculiar to each."""
    lines: dict[str, list[str]] = {}
    for about, formula in formulas(row_of(name)):
        lines.setdefault(about, []).append(formula)
    expected = GOLDEN[name]["formulas"]
    assert {about: "\n".join(lines[about]) for about in expected} == expected

"""The generated pages of docs/ are current."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest

TOOLS = Path(__file__).parents[1] / "tools"


def script(name: str) -> Any:
    """Import a script of tools/."""
    spec = importlib.util.spec_from_file_location(name, TOOLS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


PAGES = script("pages").pages()


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_a_generated_page_is_current(path: Path) -> None:
    """`make pages` writes it anew."""
    assert path.read_text(encoding="utf-8") == PAGES[path]


def test_sections_of_other_frameworks_and_the_hand_written_part_stay() -> None:
    """In their places; a new framework comes behind them."""
    page = script("frameworks_page")
    old = page.renewed("", {"one": "## one\n\nold\n", "two": "## two\n\nkept\n"})
    old += "\n## By hand\n\nkept too\n"
    new = page.renewed(old, {"one": "## one\n\nnew\n", "three": "## three\n\nadded\n"})
    assert [line for line in new.split("\n") if line.startswith("## ")] == [
        "## one",
        "## two",
        "## three",
        "## By hand",
    ]
    assert new == old.replace("old", "new").replace("kept\n\n", "kept\n\n## three\n\nadded\n\n")


def test_the_page_is_as_the_script_would_leave_it() -> None:
    """Renewed with nothing it does not change, and each section has a command and versions."""
    page = script("frameworks_page")
    text = page.PAGE.read_text()
    assert page.renewed(text, {}) == text
    for section in text.partition(page.MARK)[0].split(page.SECTION)[1:]:
        name = section.split("\n", 1)[0]
        assert f"`backnorm audit {name}" in section
        assert "Versions: python" in section

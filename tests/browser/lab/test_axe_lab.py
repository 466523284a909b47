"""axe-core finds nothing in the page of the lab."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from browser.quality import VIEWS

if TYPE_CHECKING:
    from pathlib import Path

    from browser.chromium import Tab

EVERYTHING = (
    "document.querySelectorAll('.choice, #graph-all, #cut-mean').forEach(one => one.click())"
)


@pytest.mark.parametrize("view", VIEWS)
def test_the_lab_keeps_nobody_out(tab: Tab, page: Path, view: str) -> None:
    """As it opens, and with all that can be shown, in both languages."""
    pytest.importorskip("axe_core_python", reason="backnorm[browser] is not installed")
    from browser.axe import violations  # noqa: PLC0415 - as above

    tab.open(page, **VIEWS[view])
    assert violations(tab) == []
    tab.value(EVERYTHING)
    for _ in range(2):
        tab.value("document.getElementById('language').click()")
        assert violations(tab) == []

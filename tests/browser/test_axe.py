"""axe-core finds nothing in the pages that the package writes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

pytest.importorskip("websockets", reason="backnorm[browser] is not installed; make test-browser is")
pytest.importorskip("axe_core_python", reason="backnorm[browser] is not installed")

from backnorm.report import to_html
from browser.axe import violations
from browser.chromium import Tab, browser, found
from browser.quality import VIEWS
from report.records import CUT, LOST, RMS, SOUND, WARNED

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.skipif(
    found() is None, reason="Chromium is not installed: apt-get install chromium; .ci/run does"
)


@pytest.fixture(scope="module")
def tab() -> Iterator[Tab]:
    """A tab of one browser for all tests, which open the page anew."""
    with browser() as one:
        yield one


@pytest.mark.parametrize("view", VIEWS)
def test_the_report_keeps_nobody_out(tab: Tab, tmp_path: Path, view: str) -> None:
    """With everything unfolded."""
    page = tmp_path / "audit.html"
    page.write_text(to_html((SOUND, CUT, RMS, LOST, WARNED)), "utf-8")
    tab.open(page, **VIEWS[view])
    tab.value("document.querySelectorAll('details').forEach(one => one.open = true)")
    assert violations(tab) == []


def test_what_keeps_people_out_is_noticed(tab: Tab, tmp_path: Path) -> None:
    """A page without a language, and a picture without words."""
    page = tmp_path / "closed.html"
    page.write_text("<img src='data:,'>", "utf-8")
    tab.open(page, **VIEWS["light-desktop"])
    assert {"html-has-lang", "image-alt"} <= {one.partition(":")[0] for one in violations(tab)}

"""The site as a browser shows it: nobody is kept out, and tables fit on a phone."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

pytest.importorskip("websockets", reason="backnorm[browser] is not installed; make test-browser is")
pytest.importorskip("axe_core_python", reason="backnorm[browser] is not installed")
pytest.importorskip("mkdocs", reason="backnorm[docs] is not installed; make test-browser is")

from browser import firefox
from browser.axe import violations
from browser.chromium import Tab, browser, found
from browser.quality import VIEWS

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.skipif(
    found() is None, reason="Chromium is not installed: apt-get install chromium; .ci/run does"
)

ROOT = Path(__file__).parents[2]

PAGES = (
    "index",  # the first page
    "architecture",  # blocks of code that scroll
    "audit",  # Python and its colors
    "ci",  # YAML and TOML
    "cheatsheet",  # formulas in tables
    "files",  # links that are code
    "frameworks",  # wide tables
    "mathematics",  # formulas that scroll
    "tutorials/port-a-model",
    "zh/audit",
)
"""A page of each kind. 404.html is for servers: its addresses are not those of a file."""

WIDE = """[...document.querySelectorAll('.md-typeset__scrollwrap')].filter(one =>
    one.scrollWidth > one.clientWidth).length"""

HEADINGS = """(table => [
    [...table.querySelectorAll('th')].slice(1).map(one => one.textContent),
    [...table.querySelectorAll('tbody tr:first-child td')].slice(1).map(
        one => getComputedStyle(one, '::before').content),
])(document.querySelector('table[data-columns]'))"""

SEARCH = """(field => { document.querySelector('#__search').click(); field.value = 'variance';
    field.dispatchEvent(new KeyboardEvent('keyup', { bubbles: true }));
    field.dispatchEvent(new Event('input', { bubbles: true })); return null })(
    document.querySelector('.md-search__input'))"""

FOUND = "document.querySelectorAll('.md-search-result__item').length"


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built now: site/ may be older than docs/."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", folder]
    subprocess.run(command, cwd=ROOT, check=True)
    return folder


@pytest.fixture(scope="module")
def tab() -> Iterator[Tab]:
    """A tab of one browser for all tests, which open the page anew."""
    with browser() as one:
        yield one


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("page", PAGES)
def test_the_site_keeps_nobody_out(tab: Tab, site: Path, page: str, view: str) -> None:
    """axe-core finds nothing."""
    tab.open(site / f"{page}.html", **VIEWS[view])
    assert violations(tab) == []


@pytest.mark.parametrize("page", ["frameworks", "libraries", "numerics"])
def test_tables_fit_on_a_phone(tab: Tab, site: Path, page: str) -> None:
    """None has to be scrolled, and neither has the page."""
    tab.open(site / f"{page}.html", **VIEWS["dark-phone"])
    assert tab.value("document.querySelectorAll('.md-typeset__table').length") > 0
    assert tab.value(WIDE) == 0
    assert tab.value("document.documentElement.scrollWidth <= innerWidth")


def test_each_value_has_its_heading_on_a_phone(tab: Tab, site: Path) -> None:
    """Above it, where there is no row of headings; on a desktop there is one."""
    tab.open(site / "frameworks.html", **VIEWS["dark-phone"])
    headings, shown = tab.value(HEADINGS)
    assert headings[:3] == ["kind", "statistics", "through"]
    assert shown == [f'"{heading}"' for heading in headings]
    assert tab.value("getComputedStyle(document.querySelector('thead')).display") == "none"
    tab.open(site / "frameworks.html", **VIEWS["light-desktop"])
    assert set(tab.value(HEADINGS)[1]) == {"none"}


@pytest.mark.skipif(
    firefox.found() is None, reason="Firefox is not installed: apt-get install firefox-esr"
)
def test_no_page_has_an_error_in_firefox(site: Path) -> None:
    """And the search finds something, from the disk."""
    with firefox.firefox() as window:
        for page in PAGES:
            window.open(site / f"{page}.html")
            assert window.value(SEARCH) is None
            for _ in range(1000):  # the index is loaded, which leaving the page would break off
                if window.value(FOUND):
                    break
                time.sleep(0.1)
            assert window.value(FOUND)
            assert window.value("document.querySelector('.md-content').innerText.length") > 500
            assert window.value("document.querySelectorAll('.md-nav__link').length") > 10
        assert window.entries == []

"""The audit's page as a browser shows it."""

from __future__ import annotations

import json
import os
import re
import struct
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

pytest.importorskip("websockets", reason="backnorm[browser] is not installed; make test-browser is")
pytest.importorskip("torch", reason="PyTorch is not installed")

from backnorm.cli import main
from backnorm.report import to_html
from browser.chromium import Tab, browser, found
from browser.quality import CONTRAST, STICKING_OUT, VIEWS, said
from report.records import CUT, HOSTILE, LOST, RMS, SOUND, WARNED

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.skipif(
    found() is None, reason="Chromium is not installed: apt-get install chromium; .ci/run does"
)

RECORDS = (SOUND, CUT, RMS, LOST, WARNED)
PAGES = ("layers", "model", "usual", "hostile")

HERE = Path(__file__).parent

LAYERS = ("torch.nn.BatchNorm2d", *(f"layers.py:{n}" for n in ("FrozenMean", "MyGroupNorm")))
AUDITED = (*LAYERS, "torch.nn.RMSNorm", "layers.py:Unfinished")
"""Right and wrong ones, one without a mean, one that raises: what docs/ shows."""

MODEL = ("../with_torch/whole_models.py:left_in_eval", "--model", "--input", "8,3,32,32")


def audit(folder: Path, name: str, *arguments: str) -> None:
    """Have the command write a page, and JSON beside it; names of files are as from here."""
    files = ("--html", str(folder / f"{name}.html"), "--json", str(folder / f"{name}.json"))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(HERE)
        CliRunner().invoke(main, ["audit", *arguments, *files], catch_exceptions=False)


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Two pages of real audits, and two of records made up.

    Of those one has everything that a page may show, and one has words that break what does not
    escape them.
    """
    folder = tmp_path_factory.mktemp("pages")
    audit(folder, "layers", *AUDITED, "--mode", "train")
    audit(folder, "model", *MODEL)
    for name, records in {"usual": RECORDS, "hostile": [HOSTILE, CUT]}.items():
        (folder / f"{name}.html").write_text(to_html(records), "utf-8")
    return {name: folder / f"{name}.html" for name in PAGES}


@pytest.fixture
def tab() -> Iterator[Tab]:
    """A new tab of a new browser."""
    with browser() as one:
        yield one


def opened(tab: Tab, page: Path, view: str) -> None:
    """Open a page in one of the two views."""
    tab.open(page, **VIEWS[view])


CELLS = """[...document.querySelectorAll('main > .scroll tbody tr')].map(
    row => [...row.cells].map(cell => cell.innerText.trim()))"""


def told(page: Path) -> list[list[str]]:
    """What the table has to say by the JSON of the same audit."""
    sound = {True: "✓ yes", False: "✗ NO", None: "? not judged"}
    return [
        [
            one["target"],
            sound[one["sound"]] if one["audited"] else "? not audited",
            *(one[word] if one["audited"] else "" for word in ("kind", "mode", "through")),
            *(share(one["coefficients"][name]) for name in ("direct", "mean", "variance")),
            "-" if one["residual"] is None else f"{one['residual']:.0e}",
            " ".join(finding["code"] for finding in one["findings"]),
        ]
        for one in json.loads(page.with_suffix(".json").read_text())["targets"]
    ]


def share(value: float | None) -> str:
    """As the table writes it."""
    return "-" if value is None else re.sub(r"^-(?=0\.000$)", "", f"{value:.3f}")


def test_the_verdicts_can_be_read(tab: Tab, pages: dict[str, Path]) -> None:
    """From the rendered table: target, verdict, kind, mode, path, coefficients."""
    opened(tab, pages["layers"], "light-desktop")
    cells = tab.value(CELLS)
    assert [row[:8] for row in cells] == [
        ["torch.nn.BatchNorm2d", "✓ yes", "batch", "batch", "both", "1.000", "1.000", "1.000"],
        [
            *("layers.py:FrozenMean", "✗ NO", "batch", "batch", "variance"),
            *("1.000", "0.000", "1.000"),
        ],
        ["layers.py:MyGroupNorm", "✓ yes", "group", "batch", "both", "1.000", "1.000", "1.000"],
        ["torch.nn.RMSNorm", "✓ yes", "rms", "batch", "both", "1.000", "-", "1.000"],
        ["layers.py:Unfinished", "? not audited", "", "", "", "-", "-", "-"],
    ]
    assert "G01" in cells[1][9]
    assert cells[4][9] == "G20"
    assert tab.value("document.getElementById('summary').innerText").startswith(
        "4 layers audited: "
    )


@pytest.mark.parametrize("name", ["layers", "model"])
def test_the_page_says_what_the_json_says(tab: Tab, pages: dict[str, Path], name: str) -> None:
    """In every cell of the table of the same audit."""
    opened(tab, pages[name], "light-desktop")
    cells = tab.value(CELLS)
    assert cells == told(pages[name])
    assert len(cells) == {"layers": 5, "model": 20}[name]
    assert [row[0].rpartition(" ")[2] for row in cells if "M01" in row[9]] == (
        ["5.norm"] if name == "model" else []
    )


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("name", PAGES)
def test_it_is_quiet_and_fetches_nothing(
    tab: Tab, pages: dict[str, Path], name: str, view: str
) -> None:
    """No message in the console and no request; no script ran, and no markup came in."""
    opened(tab, pages[name], view)
    assert said(tab) == []
    assert tab.value("document.querySelectorAll('script').length") == 0
    assert tab.value("document.querySelectorAll('main > .scroll table').length") == 1


def test_what_is_wrong_with_a_page_is_noticed(tab: Tab, tmp_path: Path) -> None:
    """A page with a script that logs, and one that fetches, are not taken for quiet ones."""
    page = tmp_path / "loud.html"
    page.write_text("<script>console.log(1)</script><img src='none.png'>")
    opened(tab, page, "light-desktop")
    assert len(said(tab)) >= 2


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("name", ["layers", "model", "usual"])
def test_only_tables_scroll_sideways(
    tab: Tab, pages: dict[str, Path], name: str, view: str
) -> None:
    """The page is no wider than the window, on a phone too, with everything unfolded."""
    opened(tab, pages[name], view)
    tab.value("document.querySelectorAll('details').forEach(one => one.open = true)")
    width = VIEWS[view]["width"]
    assert tab.value("document.documentElement.scrollWidth") <= width
    assert tab.value(STICKING_OUT) == []


def test_a_phone_cuts_no_column(tab: Tab, pages: dict[str, Path]) -> None:
    """The table of verdicts is a block for each target there, with the names of its columns."""
    opened(tab, pages["layers"], "dark-phone")
    box = "document.querySelector('main > .scroll')"
    assert tab.value(f"{box}.scrollWidth") <= tab.value(f"{box}.clientWidth")
    names = f"""[...{box}.querySelectorAll('tbody tr:first-child td')].map(
        one => getComputedStyle(one, '::before').content.slice(1, -1))"""
    heads = f"[...{box}.querySelectorAll('thead th')].map(one => one.textContent)"
    assert tab.value(names) == tab.value(heads)[1:]


def test_codes_lead_to_what_they_mean(tab: Tab, pages: dict[str, Path]) -> None:
    """Every link within the page has its place, and every figure what it uses."""
    opened(tab, pages["usual"], "light-desktop")
    lost = """[...document.querySelectorAll('a[href^="#"], use')].map(
        one => one.getAttribute('href').slice(1)).filter(id => !document.getElementById(id))"""
    assert tab.value(lost) == []
    tab.value("document.querySelector('a[href=\"#code-G01\"]').click()")
    assert "coefficients 1, 1, 1" in tab.value("document.querySelector(':target').innerText")


def test_a_desk_has_room_for_all_columns(tab: Tab, pages: dict[str, Path]) -> None:
    """The table of verdicts need not be scrolled, and names of usual length stand on one line."""
    opened(tab, pages["layers"], "light-desktop")
    box = "document.querySelector('main > .scroll')"
    assert tab.value(f"{box}.scrollWidth") <= tab.value(f"{box}.clientWidth")
    lines = f"[...{box}.querySelectorAll('tbody th a')].map(one => one.getClientRects().length)"
    assert tab.value(lines) == [1] * len(AUDITED)


@pytest.mark.parametrize("view", VIEWS)
def test_all_words_stand_out_from_their_ground(tab: Tab, pages: dict[str, Path], view: str) -> None:
    """Contrast of 4.5 and more (WCAG 2, AA), light and dark."""
    opened(tab, pages["usual"], view)
    tab.value("document.querySelectorAll('details').forEach(one => one.open = true)")
    assert tab.value(CONTRAST) == []
    tab.value("document.body.style.color = getComputedStyle(document.body).backgroundColor")
    assert tab.value(CONTRAST) != []


def test_those_who_do_not_see_it_are_told(tab: Tab, pages: dict[str, Path]) -> None:
    """Tables have captions and scopes, figures a title and what they show, ids are unique."""
    opened(tab, pages["usual"], "light-desktop")
    count: Any = lambda query: tab.value(f"document.querySelectorAll({query!r}).length")  # noqa: E731
    assert count("th:not([scope])") == 0
    assert count("table") == count("table > caption") >= 2
    figures = """[...document.querySelectorAll('svg[role=img]')].map(one =>
        one.getAttribute('aria-labelledby').split(' ').map(
            id => document.getElementById(id).textContent).join(': '))"""
    said_ = tab.value(figures)
    assert len(said_) == count("figure") >= 8
    assert any("direct 1.000, through the mean 0.000, through the variance 1.0" in t for t in said_)
    ids = tab.value("[...document.querySelectorAll('[id]')].map(one => one.id)")
    assert len(ids) == len(set(ids))
    assert tab.value("document.documentElement.lang") == "en"


def brightness(png: bytes) -> tuple[int, int, float]:
    """Return width, height and mean value of an RGB picture of 8 bits, 0 dark to 1 light."""
    width, height, depth, color = struct.unpack(">IIBB", png[16:26])
    assert (depth, color) == (8, 2)
    packed, at = b"", 8
    while at < len(png):
        (length,) = struct.unpack(">I", png[at : at + 4])
        if png[at + 4 : at + 8] == b"IDAT":
            packed += png[at + 8 : at + 8 + length]
        at += 12 + length
    raw = zlib.decompress(packed)
    # The left edge is the page's ground. Rows are stored as differences, which have to be undone.
    row, ground, stride = bytearray(3), [], 1 + 3 * width
    for y in range(height):
        kind, first = raw[y * stride], raw[y * stride + 1 : y * stride + 4]
        up = row if kind in (2, 4) else [v // 2 for v in row] if kind == 3 else (0, 0, 0)
        row = bytearray((f + u) % 256 for f, u in zip(first, up, strict=True))
        ground.append(sum(row) / 765)
    return width, height, sum(ground) / height


@pytest.mark.parametrize("view", VIEWS)
def test_pictures_are_light_and_dark(
    tab: Tab, pages: dict[str, Path], tmp_path: Path, view: str
) -> None:
    """The two that docs/ shows, of a real audit; `make pictures` has them written there."""
    opened(tab, pages["layers"], view)
    if view == "dark-phone":
        tab.value("document.querySelector('details[open] .figures').scrollIntoView()")
    png = tab.picture()
    width, height, ground = brightness(png)
    assert (width, height) == (VIEWS[view]["width"], VIEWS[view]["height"])
    assert ground > 0.9 if view == "light-desktop" else ground < 0.2
    assert 20_000 < len(png) < 300_000
    folder = Path(os.environ.get("BACKNORM_PICTURES", tmp_path))
    (folder / f"audit-{view}.png").write_bytes(png)

"""The page and its figures, without a browser."""

from __future__ import annotations

import re
from dataclasses import replace
from html import unescape

from backnorm.audit.record import PrecisionPoint
from backnorm.report import to_html
from backnorm.report._elements import Shared
from backnorm.report._figures import precision_figure, split_figure
from backnorm.report.columns import MEANINGS
from report.records import CUT, SOUND, parts

LOST = PrecisionPoint("scale", 1e20, "float32", None, None, 1e-8, 2e-8)
UNCOMPARED = PrecisionPoint("scale", 1.0, "float32", 1e-7, None, 1e-8, None)


def drawn(*points: PrecisionPoint) -> tuple[int, int, int, str]:
    """Count crosses, dots and curves; and what is said of the figure."""
    shared = Shared()
    figure = precision_figure(points, shared)
    styles: dict[str, int] = {}
    for one in shared.kept().iter():
        for style in one.get("class", "").split():
            strokes = one.get("d", "").count("M") if one.tag == "path" else 0
            styles[style] = styles.get(style, 0) + strokes
    curves = sum(one.tag == "polyline" for one in shared.kept().iter())
    said = next(one.text or "" for one in figure.iter() if one.tag == "desc")
    return styles.get("cross", 0), styles.get("dots", 0), curves, said.partition(". ")[0]


def test_what_is_not_finite_is_a_cross() -> None:
    """For y and for dx, at the same place; the exact curves go on."""
    assert drawn(LOST) == (1, 0, 2, "1 points; NaN or infinity at 1 of them")


def test_what_is_not_compared_is_no_cross() -> None:
    """A dx that is wrong anyway has neither a curve nor an exact one."""
    assert drawn(UNCOMPARED) == (0, 1, 2, "1 points; NaN or infinity at 0 of them")


def test_what_figures_show_alike_is_kept_once() -> None:
    """Two layers on the same inputs share their parts; another dx has other dots."""
    shared = Shared()
    first = split_figure(parts(mean_cut=False), shared)
    count = len(shared.kept().findall(".//g"))
    split_figure(parts(mean_cut=False), shared)
    assert len(shared.kept().findall(".//g")) == count
    split_figure(parts(mean_cut=True), shared)
    assert len(shared.kept().findall(".//g")) == count + 1
    names = {one.get("id") for one in shared.kept().iter("g")}
    assert {one.get("href", "")[1:] for one in first.iter("use")} <= names


def test_a_curve_says_its_numbers() -> None:
    """To who does not see it."""
    figure = precision_figure([LOST, UNCOMPARED], Shared())
    said = next(one.text or "" for one in figure.iter() if one.tag == "desc")
    assert said.endswith("Errors of y 1e-07 -, dx - -.")


def test_the_page_says_what_codes_and_columns_mean() -> None:
    """Each code of a finding links to its text, which is there once; the page has its day."""
    html = to_html([SOUND, CUT, CUT], on="2026-03-09")
    links = set(re.findall(r'href="#(code-\w+)"', html))
    assert links == {"code-G01", "code-G14"}
    assert all(html.count(f'id="{link}"') == 1 for link in links)
    assert html.count("Let the mean be") == 1
    assert all(meaning in unescape(html) for meaning in MEANINGS.values())
    assert '<time datetime="2026-03-09">9 March 2026</time>' in html


def test_eighty_layers_make_a_small_page() -> None:
    """Half a megabyte at most: it is sent by mail, and opened on a phone."""
    many = [replace(one, target=f"{one.target}{at}") for at in range(40) for one in (SOUND, CUT)]
    assert len(to_html(many)) < 500_000

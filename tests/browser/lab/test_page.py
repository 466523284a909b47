"""The page as a browser, a screen reader and a keyboard meet it."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest

from browser.axe import violations
from browser.quality import CONTRAST, STICKING_OUT, VIEWS, said

if TYPE_CHECKING:
    from pathlib import Path

    from browser.chromium import Tab

EVERYTHING = (
    """for (const one of document.querySelectorAll('.choice, #graph-all, #cut-mean')) one.click()"""
)
"""Shows all that can be shown: answers, explanations, verdicts."""


@pytest.mark.parametrize("view", VIEWS)
def test_it_is_quiet_and_fits(tab: Tab, page: Path, view: str) -> None:
    """No message, no request, nothing cut off, and texts that can be read, in both languages."""
    tab.open(page, **VIEWS[view])
    tab.value(EVERYTHING)
    for _ in range(2):
        tab.value("document.getElementById('language').click()")
        assert tab.value("document.documentElement.scrollWidth") <= VIEWS[view]["width"]
        assert tab.value(STICKING_OUT) == []
        assert tab.value(CONTRAST) == []
    assert said(tab) == []


@pytest.mark.parametrize("view", VIEWS)
def test_axe_finds_nothing(tab: Tab, page: Path, view: str) -> None:
    """In the page as it opens, and with all that can be shown, in both languages."""
    pytest.importorskip("axe_core_python", reason="backnorm[browser] is not installed")
    tab.open(page, **VIEWS[view])
    assert violations(tab) == []
    tab.value(EVERYTHING)
    for _ in range(2):
        tab.value("document.getElementById('language').click()")
        assert violations(tab) == []


def test_it_is_small(page: Path) -> None:
    """And would stay below 500 KB with a recording of 300 KB."""
    assert page.stat().st_size < 200_000


def test_the_answer_comes_after_the_vote(lab: Tab) -> None:
    """For either vote, which can be changed."""
    answer = "document.getElementById('vote-answer').innerText"
    assert lab.value(answer) == ""
    lab.click("[data-vote=constants]")
    assert lab.value(answer).startswith("You voted for constants. They take part.")
    lab.click("[data-vote=part]")
    assert lab.value(answer).startswith("You are right: they take part.")
    pressed = "[...document.querySelectorAll('[data-vote]')].map(one => one.ariaPressed)"
    assert lab.value(pressed) == ["false", "true"]


RIGHT = ("b", "a", "c", "b", "c", "a", "b", "c")


def test_rounding_error_is_shown_as_zero(lab: Tab) -> None:
    """In the tables; all its digits stay for those who check them."""
    cells = """[...document.querySelectorAll('td')].filter(
        cell => Math.abs(Number(cell.dataset.value)) < 1e-9 && Number(cell.dataset.value) !== 0
    ).map(cell => cell.textContent)"""
    lab.click("#graph-all")
    residues = lab.value(cells)
    assert residues
    assert set(residues) == {"0"}
    assert not re.search(r"e\u22121\d", lab.value("document.getElementById('graph').innerText"))


def test_an_empty_score_leaves_no_mark(lab: Tab) -> None:
    """Below the last question nothing is to be seen before an answer."""
    color = "getComputedStyle(document.getElementById('quiz-score')).borderLeftColor"
    assert lab.value(color) == "rgba(0, 0, 0, 0)"


def test_every_answer_of_the_quiz_is_explained(lab: Tab) -> None:
    """And eight of them are right."""
    explanations = set()
    for option in "abc":
        for k in range(1, 9):
            lab.click(f"#quiz-list li:nth-child({k}) [data-option={option}]")
        why = lab.value("[...document.querySelectorAll('.why')].map(one => one.innerText)")
        explanations |= set(why)
        assert [text.startswith("Right.") for text in why] == [r == option for r in RIGHT]
    assert len(explanations) == 24
    assert lab.value("document.getElementById('quiz-score').innerText").startswith("3 of 8 right")


def test_the_switch_changes_all_words(lab: Tab) -> None:
    """What is computed anew too; what was chosen stays."""
    lab.click("[data-vote=constants]")
    lab.click("#cut-mean")
    lab.click("#language")
    assert lab.value("document.documentElement.lang") == "zh-Hans"
    assert lab.value("document.title").startswith("批归一化")
    assert lab.value("document.getElementById('vote-answer').innerText").startswith("你选了")
    assert "误差" in lab.value("document.getElementById('pull-verdict').innerText")
    left = """[...document.querySelectorAll('h1, h2, h3, p, button, legend, caption, figcaption, td, th')]
        .filter(one => /[a-z]{4}/i.test(one.innerText.replace(/Caffe|MXNet|JavaScript|English|backnorm.*|float32|float64/g, ''))
            && !/[\\u4e00-\\u9fff]/.test(one.innerText)).map(one => one.innerText)"""  # noqa: E501 - JavaScript
    assert lab.value(left) == []
    lab.click("#language")
    assert lab.value("document.getElementById('vote-answer').innerText").startswith("You voted")


STOPS = """(() => {
  const one = document.activeElement, style = getComputedStyle(one);
  const name = one.getAttribute('aria-label') || [...(one.labels || [])].map(l => l.textContent).join(' ')
      || one.textContent;
  const ring = [one, one.labels?.[0], one.querySelector?.('.grip, rect')].filter(Boolean).map(node => getComputedStyle(node));
  return { place: [...document.querySelectorAll('*')].indexOf(one), name: name.trim(), at: one.id || one.className.baseVal || one.className || one.name || one.textContent,
           visible: ring.some(s => s.outlineStyle !== 'none' || parseFloat(s.strokeWidth) >= 3) };
})()"""  # noqa: E501 - JavaScript

REACHABLE = """[...document.querySelectorAll('a[href], button, input, [tabindex="0"]')].filter(
    one => one.type !== 'radio' || one.checked).length"""


def test_all_is_reached_by_keyboard(lab: Tab) -> None:
    """In the order of the document, each with a name and with a mark where the focus is."""
    stops: list[dict[str, Any]] = []
    for _ in range(lab.value(REACHABLE)):
        lab.press("Tab")
        stops.append(lab.value(STOPS))
    places = [stop["place"] for stop in stops]
    assert places == sorted(set(places))
    assert [stop for stop in stops if not stop["name"] or not stop["visible"]] == []
    assert len(stops) > 50


def focus(lab: Tab, selector: str) -> None:
    """Give an element the focus, as the tab key would."""
    lab.value(f"document.querySelector({json.dumps(selector)}).focus()")


def test_values_move_by_arrow_keys(lab: Tab) -> None:
    """By a tenth, by one, and to the ends; what a screen reader says moves with them."""
    focus(lab, ".handle")
    now = "Number(document.activeElement.ariaValueNow)"
    seen = []
    for key in ("ArrowRight", "ArrowLeft", "ArrowLeft", "PageUp", "End", "Home"):
        lab.press(key)
        seen.append(lab.value(now))
    assert seen == [1.1, 1.0, 0.9, 1.9, 10.0, 0.0]
    words = lab.value("document.activeElement.ariaValueText")
    shown = lab.value("document.querySelector('#line-table tbody tr:nth-child(2) td').innerText")
    assert words == f"0, normalized {shown}"


def test_values_cannot_all_be_equal(lab: Tab) -> None:
    """The last move, which would leave no variance, is not made."""
    for k in range(1, 5):
        focus(lab, f".handle:nth-of-type({k + 1})")
        lab.press("Home")
    shown = lab.value("[...document.querySelectorAll('.handle')].map(one => one.ariaValueNow)")
    assert shown == ["0", "0", "0", "8"]


def test_parts_work_by_keyboard(lab: Tab) -> None:
    """Vote, cut, detach, step, choose and answer without a mouse."""
    for selector, key, script, expected in (
        ("[data-vote=part]", "Enter", "document.querySelector('.answer') !== null", True),
        ("#cut-variance", "Space", "document.getElementById('cut-variance').checked", True),
        (".node[role=button]", "Enter", "document.activeElement.ariaPressed", "true"),
        (".node[role=button]", "Space", "document.activeElement.ariaPressed", "false"),
        ("#graph-step", "Space", "document.querySelectorAll('.node.last').length", 1),
        ("#jacobian-n", "Home", "document.getElementById('jacobian-n-value').value", "2"),
        ("#forms-request input", "ArrowRight", "document.activeElement.value", "add"),
        ("#training-rate", "Home", "document.getElementById('training-rate-value').value", "0.1"),
        ("#quiz-list button", "Enter", "document.querySelectorAll('.why.bad').length", 1),
    ):
        focus(lab, selector)
        lab.press(key)
        assert lab.value(script) == expected, selector


def test_those_who_do_not_see_it_are_told(lab: Tab) -> None:
    """Each drawing, table and group has a name, each number that changes has a live region."""
    names = """[...document.querySelectorAll('[role=img], [role=group], [role=slider], .node[role=button]')].filter(
        one => !(one.ariaLabel || (one.getAttribute('aria-labelledby') || '').split(' ').some(
            id => document.getElementById(id)?.textContent.trim()))).map(one => one.outerHTML.slice(0, 80))"""  # noqa: E501 - JavaScript
    assert lab.value(names) == []
    count: Any = lambda query: lab.value(f"document.querySelectorAll({query!r}).length")  # noqa: E731
    assert count("th:not([scope])") == 0
    assert count("table") == count("table > caption")
    assert count("fieldset") == count("fieldset > legend")
    assert count(".verdict:not([role=status])") == 0
    ids = lab.value("[...document.querySelectorAll('[id]')].map(one => one.id)")
    assert len(ids) == len(set(ids))


def test_only_the_part_in_use_is_read_aloud(lab: Tab) -> None:
    """Although a moved value changes sentences in four parts."""
    focus(lab, ".handle")
    aloud = "[...document.querySelectorAll('[aria-live=polite]')].map(one => one.id)"
    assert lab.value(aloud) == ["pull-verdict"]
    focus(lab, "#forms-global")
    assert lab.value(aloud) == ["forms-verdict", "forms-said"]


def test_a_dragged_value_follows_the_pointer(lab: Tab) -> None:
    """By as much as the scale says, and not beyond its ends."""
    width = lab.value("document.querySelector('#line-drawing svg').clientWidth") - 44
    lab.drag(".handle:nth-of-type(2)", width / 5)
    now = "Number(document.querySelector('.handle').ariaValueNow)"
    assert abs(lab.value(now) - 3) < 0.02
    lab.drag(".handle:nth-of-type(2)", -width)
    assert lab.value(now) == 0

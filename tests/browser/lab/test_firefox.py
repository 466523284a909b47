"""The page of the lab in Firefox."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from browser.chromium import Tab
    from browser.firefox import Window

USE = """(() => {
  for (const one of document.querySelectorAll('button, input[type=checkbox], .node[role=button]'))
    one.dispatchEvent(new MouseEvent('click', { bubbles: true }));
  for (const one of document.querySelectorAll('input[type=range]')) {
    one.value = one.max; one.dispatchEvent(new Event('input', { bubbles: true })) }
  return document.documentElement.lang })()"""
"""Touches all there is: buttons, switches, nodes and sliders."""

NUMBERS = "[...document.querySelectorAll('[data-value]')].map(one => one.dataset.value)"


def numbers_of(shown: Tab | Window) -> list[float]:
    """All numbers of the page, with all digits; some elements have several."""
    parsed = map(json.loads, shown.value(NUMBERS))
    return [x for one in parsed for x in (one if isinstance(one, list) else [one])]


def test_it_runs_in_firefox_without_an_error(lab: Tab, page: Path) -> None:
    """And shows the numbers that it shows in Chromium, before and after all was touched."""
    from browser.firefox import firefox, found  # noqa: PLC0415 - needs websockets

    if found() is None:
        pytest.skip("Firefox is not installed: apt-get install firefox-esr; .ci/run does")
    with firefox() as window:
        window.open(page)
        for _ in range(2):
            numbers, others = (numbers_of(one) for one in (window, lab))
            assert numbers == pytest.approx(others, rel=1e-9, abs=1e-9, nan_ok=True)
            assert len(numbers) > 50
            assert window.value(USE) == lab.value(USE)
        assert window.entries == []
        window.value("console.error('noticed')")
        assert window.entries == ["console error: noticed"]

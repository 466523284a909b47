"""What holds for every page that the package writes."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from browser.chromium import Tab

__all__ = ["CONTRAST", "STICKING_OUT", "VIEWS", "said"]

VIEWS = {
    "light-desktop": {"width": 1100, "height": 800, "dark": False},
    "dark-phone": {"width": 390, "height": 800, "dark": True},
}


def said(tab: Tab) -> list[str]:
    """All that went wrong, and all that was fetched but the page itself and its empty icon."""
    wrong = ("Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded")
    found_ = [f"{name} {event}" for name, event in tab.events if name in wrong]
    fetched = [
        event["request"]["url"]
        for name, event in tab.events
        if name == "Network.requestWillBeSent" and event["type"] != "Document"
    ]
    return found_ + [url for url in fetched if not url.startswith("data:")]


STICKING_OUT = """[...document.querySelectorAll('body *')].filter(one =>
    !one.closest('.scroll *') && one.getBoundingClientRect().right > innerWidth + 1
    ).map(one => one.tagName)"""
"""What is cut off at the right."""

CONTRAST = """(() => {
  const light = c => { const [r, g, b] = c.map(v => (v /= 255) <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
                       return 0.2126 * r + 0.7152 * g + 0.0722 * b };
  const numbers = c => c.match(/[\\d.]+/g).map(Number);
  const behind = one => { for (; one; one = one.parentElement) { const c = numbers(getComputedStyle(one).backgroundColor);
                          if (c.length < 4 || c[3] > 0) return c.slice(0, 3) } return [255, 255, 255] };
  const low = [];
  for (const one of document.querySelectorAll('body *')) {
    if (![...one.childNodes].some(n => n.nodeType === 3 && n.data.trim()) || ['TITLE', 'title', 'desc'].includes(one.tagName)) continue;
    const style = getComputedStyle(one), ink = numbers(one instanceof SVGElement ? style.fill : style.color).slice(0, 3);
    const [a, b] = [light(ink), light(behind(one))].sort((x, y) => y - x), ratio = (a + 0.05) / (b + 0.05);
    if (ratio < 4.5) low.push(`${one.tagName} ${one.textContent.slice(0, 30)} ${ratio.toFixed(2)}`);
  }
  return low })()"""  # noqa: E501 - JavaScript
"""Texts with a contrast to their ground below 4.5 (WCAG 2, AA)."""

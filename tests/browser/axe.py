"""axe-core, which looks for what keeps people out of a page, run in a tab."""

from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from browser.chromium import Tab

__all__ = ["violations"]

RUN = "axe.run().then(found => found.violations.map(one => `${one.id}: ${one.nodes[0].html}`))"


def violations(tab: Tab) -> list[str]:
    """Return the rules that a page breaks, each with the first element that does."""
    script = (files("axe_core_python") / "axe.min.js").read_text(encoding="utf-8")
    tab.call("Runtime.evaluate", expression=script)
    answer = tab.call("Runtime.evaluate", expression=RUN, awaitPromise=True, returnByValue=True)
    assert "exceptionDetails" not in answer, answer
    return list(answer["result"]["value"])

r"""Turns the formulas of a page into MathML while the site is built.

So the reader's browser needs no script and no network. ``$$ ... \tag{7} $$`` puts the number (7) at
the right, with the anchor ``eq-7``: ``[(7)](mathematics.md#eq-7)`` links to it.
"""

from __future__ import annotations

import html
import re
from typing import Any

from latex2mathml.converter import convert

BLOCK = re.compile(r'<div class="arithmatex">\\\[(.*?)\\\]</div>', re.DOTALL)
INLINE = re.compile(r'<span class="arithmatex">\\\((.*?)\\\)</span>', re.DOTALL)
IN_CONTENTS = re.compile(r"\\\((.*?)\\\)")
TAG = re.compile(r"\\tag\{([^}]*)\}")
NUMBERED = (
    '<div id="eq-{number}" style="display: flex; align-items: center; margin: 0.8em 0">'
    '<div style="flex: 1; overflow-x: auto; overflow-y: hidden; padding: 0.2em 0">{formula}</div>'
    "<div>({number})</div></div>"
)


def to_mathml(latex: str, display: str) -> str:
    """Turn a formula into MathML."""
    formula = convert(html.unescape(latex).strip(), display=display)
    if re.search(r"<m[a-z]+>(\\|&<)", formula):  # passed through: the reader would see the source
        message = f"the converter does not know all of this formula: {latex}"
        raise ValueError(message)
    return formula


def block(match: re.Match[str]) -> str:
    """Turn a formula on lines of its own into MathML, with its number beside it if it has one."""
    tag = TAG.search(match[1])
    formula = to_mathml(TAG.sub("", match[1]), "block")
    return NUMBERED.format(number=tag[1], formula=formula) if tag else formula


def inline(match: re.Match[str]) -> str:
    """Turn a formula within a line into MathML."""
    return to_mathml(match[1], "inline")


def on_page_content(content: str, page: Any, **_: Any) -> str:
    """Replace the formulas of a page and of its contents; called by the site generator."""
    entries = list(page.toc)
    for entry in entries:  # grows while it is read
        entry.title = IN_CONTENTS.sub(inline, entry.title)
        entries.extend(entry.children)
    return INLINE.sub(inline, BLOCK.sub(block, content))

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
BAR = re.compile(r"<msub><mo( minsize=[^>]*>\|</mo>)")
"""A tall bar with an index: Chromium makes it tall only in a separate row."""

SCROLLED = '<div class="formula">{formula}</div>'
NUMBERED = '<div class="numbered" id="eq-{number}">{formula}<div>({number})</div></div>'


def to_mathml(latex: str, display: str) -> str:
    """Turn a formula into MathML."""
    formula = convert(html.unescape(latex).strip(), display=display)
    formula = BAR.sub(r'<msub><mrow><mo form="postfix" stretchy="true"\1</mrow>', formula)
    if re.search(r"<m[a-z]+>(\\|&<)", formula):  # passed through: the reader would see the source
        message = f"the converter does not know all of this formula: {latex}"
        raise ValueError(message)
    return formula


def block(match: re.Match[str]) -> str:
    """Turn a displayed formula into MathML, with its number beside it if it has one."""
    tag = TAG.search(match[1])
    formula = SCROLLED.format(formula=to_mathml(TAG.sub("", match[1]), "block"))
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
    numbers = [number for formula in BLOCK.findall(content) for number in TAG.findall(formula)]
    page.present_anchor_ids.update(f"eq-{number}" for number in numbers)  # or links look broken
    return INLINE.sub(inline, BLOCK.sub(block, content))

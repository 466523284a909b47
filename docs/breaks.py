"""Says where a line of a page may break: a browser breaks options, and does not break long names.

`--quick` stays whole. A long name in a table may break after a dot, a slash or an underscore, so
that a column is not wider than it must be. Copied text has neither mark.
"""

from __future__ import annotations

import re
from typing import Any

BLOCK = re.compile(r"<(pre|math|svg)\b.*?</\1>", re.DOTALL)
CELL = re.compile(r"<td\b.*?</td>", re.DOTALL)
CODE = re.compile(r"<code>([^<]*)</code>")
TEXT = re.compile(r">[^<]+")

OPTION = re.compile(r"(?<![\w-])--?[a-zA-Z][\w-]*")
LONG_NAME = re.compile(r"[^\s&;>]{16,}")
JOINT = re.compile(r"(?<=\w)([./_=]+)(?=\w)")


def with_breaks(content: str) -> str:
    """Return HTML in which options are whole, and long names in tables may break."""
    kept: list[str] = []

    def keep(match: re.Match[str]) -> str:
        kept.append(match[0])
        return f"<!--kept {len(kept) - 1}-->"

    content = BLOCK.sub(keep, content)
    content = CELL.sub(lambda cell: TEXT.sub(breakable, cell[0]), content)
    content = CODE.sub(lambda code: OPTION.sub(whole, code[0]), content)
    return re.sub(r"<!--kept (\d+)-->", lambda match: kept[int(match[1])], content)


def breakable(text: re.Match[str]) -> str:
    """Let the long names in a text break."""
    return LONG_NAME.sub(lambda name: JOINT.sub(r"\1<wbr>", name[0]), text[0])


def whole(option: re.Match[str]) -> str:
    """Keep an option on one line."""
    return f'<span class="option">{option[0]}</span>'


def on_page_content(content: str, **_: Any) -> str:
    """Mark a page; called by the site generator after the formulas are there."""
    return with_breaks(content)

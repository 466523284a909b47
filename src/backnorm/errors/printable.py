"""Foreign text with its unprintable characters written out."""

from __future__ import annotations

import re
from typing import Final

__all__ = ["printable"]

UNPRINTABLE: Final = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff"
    "\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]"
)
"""Control characters other than tab and line feed, lone surrogates, noncharacters, and marks that
turn the direction of the text. XML forbids most; terminals and pages obey the others."""

BREAKS: Final = re.compile(rf"{UNPRINTABLE.pattern}|[\t\n]")


def printable(text: str, *, one_line: bool = False) -> str:
    r"""Write out unprintable characters, as Python does.

    Parameters
    ----------
    text
        A name or message from a target or from a file.
    one_line
        Whether to write out line feeds and tabs too: a name with a line feed could pass for a
        message.

    Returns
    -------
    str
        The text.

    Examples
    --------
    >>> printable("bell \x07, <b>")
    'bell \\x07, <b>'
    """
    pattern = BREAKS if one_line else UNPRINTABLE
    return pattern.sub(lambda match: repr(match[0])[1:-1], text)

"""Numbers in names and texts of a file, which may be of any length and in any script."""

from __future__ import annotations

import re
from typing import Final

__all__ = ["natural", "whole_number"]

LONGEST: Final = 18
"""Digits of a number that 8 bytes hold; `int` raises at 4300."""


def whole_number(text: str) -> int | None:
    """Return the number that decimal digits are; None for other text, and where it is too long."""
    return int(text) if text.isdecimal() and len(text) <= LONGEST else None


def natural(name: str) -> list[tuple[bool, int, str]]:
    """Return a key that sorts conv10 behind conv2."""
    parts = [(whole_number(part), part) for part in re.findall(r"\d+|\D+", name)]
    return [(number is None, number or 0, part) for number, part in parts]

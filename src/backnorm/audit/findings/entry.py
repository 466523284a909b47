"""What is known about a finding before it is made."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Entry"]


@dataclass(frozen=True, slots=True)
class Entry:
    """A line of the catalog.

    Attributes
    ----------
    what
        What was found, in a sentence.
    expected
        What a right subject gives.
    causes
        Likely causes, the likeliest first.
    remedy
        What to do.
    """

    what: str
    expected: str
    causes: tuple[str, ...]
    remedy: str

"""Codes R01 and R02: the same call does not give the same bits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from backnorm.audit.findings.entry import Entry

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["REPEATED"]

REPEATED: Final[Mapping[str, Entry]] = {
    "R01": Entry(
        "Two calls on the same input give different bits.",
        "the same bits",
        (
            "sums of several threads are added in the order in which these end",
            "memory is read before it is written",
        ),
        "Add partial sums in a fixed order.",
    ),
    "R02": Entry(
        "Bits depend on the number of threads.",
        "the same bits for 1 and 2 threads",
        ("the work is cut into as many parts as there are threads, and each rounds its own sum",),
        "Cut the work into parts of a fixed size, and add their sums in a fixed order.",
    ),
}

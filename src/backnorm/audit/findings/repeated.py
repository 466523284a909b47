"""Codes R01 to R03: repeated calls are not bitwise identical."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from backnorm.audit.findings.entry import Entry

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["REPEATED"]

REPEATED: Final[Mapping[str, Entry]] = {
    "R01": Entry(
        "Two calls on the same input are not bitwise identical.",
        "bitwise identical results",
        (
            "sums of several threads are added in the order in which the threads end",
            "memory is read before it is written",
        ),
        "Add partial sums in a fixed order.",
    ),
    "R02": Entry(
        "The result depends on the number of threads.",
        "bitwise identical results with 1 and 2 threads",
        ("the work is split by the number of threads, so that partial sums round differently",),
        "Split the work into parts of a fixed size, and add their sums in a fixed order.",
    ),
    "R03": Entry(
        "The result is random: a call draws random numbers.",
        "the same result in each call, whatever was drawn before",
        (
            "by design: dropout, or noise that is added in training",
            "noise is left on in evaluation",
        ),
        "Nothing if it is meant. The gradient was judged with the random numbers held fixed.",
    ),
}

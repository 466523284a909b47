"""Codes I01 and on: the gradient is wrong on some inputs, or they are not taken."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from backnorm.audit.findings.entry import Entry

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["INPUTS"]

INPUTS: Final[Mapping[str, Entry]] = {
    "I01": Entry(
        "The gradient is wrong for another order of x or dy in memory.",
        "the gradient of the same values in the usual order",
        ("a kernel takes for granted that dy lies in memory as x does",),
        "Make dy lie as x does before the kernel reads it.",
    ),
}

"""Codes N01 and on: digits are lost."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from backnorm.audit.findings.entry import Entry

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["PRECISION"]

PRECISION: Final[Mapping[str, Entry]] = {
    "N01": Entry(
        "Half of the digits are lost where the mean is large.",
        "the digits that an exact computation keeps",
        (
            "the variance is E[x^2] - E[x]^2",
            "the mean is summed in the format of x",
        ),
        "Subtract the mean first, or sum in a wider format.",
    ),
}

"""Codes S01 and on: what a layer keeps between calls is wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from backnorm.audit.findings.entry import Entry

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["STATE"]

STATE: Final[Mapping[str, Entry]] = {
    "S01": Entry(
        "The running statistics require a gradient or hold a graph.",
        "statistics that are plain values",
        (
            "they are blended with the batch's statistics without detach or no_grad",
            "they are parameters and not buffers",
        ),
        "Update them under no_grad, or from detached statistics; else every step keeps the last.",
    ),
}

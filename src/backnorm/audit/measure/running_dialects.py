"""Which dialects keep their running statistics by a law that was seen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

from backnorm.dialects import DIALECTS, row_of

if TYPE_CHECKING:
    from backnorm.dialects import Row

__all__ = ["Kept", "Storage", "dialects_that_keep"]

Storage: TypeAlias = Literal[
    "averages",
    "averages, eps in the variance",
    "sums and their divisor",
    "hidden averages and their count",
]
"""What is kept, in the words of the table's column."""


@dataclass(frozen=True, slots=True)
class Kept:
    """What was seen of how a layer keeps its statistics, in the words of the table's columns.

    Attributes
    ----------
    storage, running_var, copied_updates, updates_in
        As the columns of these names.
    cumulative
        Whether each batch weighs the same.
    normalizes_with
        As the column; None where that was not seen.
    """

    storage: Storage
    running_var: Literal["biased", "unbiased"]
    copied_updates: int
    updates_in: Literal["forward", "backward"]
    cumulative: bool
    normalizes_with: Literal["batch", "blend"] | None


def dialects_that_keep(kept: Kept) -> tuple[str, ...]:
    """Return the names of the dialects that keep their statistics in this way."""
    return tuple(name for name in DIALECTS if _keeps(row_of(name), kept))


def _keeps(row: Row, kept: Kept) -> bool:
    # Where a framework returns new statistics, whoever calls it stores them in the forward pass.
    when = "backward" if row.updates_in.value == "backward" else "forward"
    same = (
        row.storage.value == kept.storage,
        row.running_var.value == kept.running_var,
        when == kept.updates_in,
        row.momentum_none.value == "cumulative"
        if kept.cumulative
        else row.copied_updates.value == kept.copied_updates,
        kept.normalizes_with in (None, row.normalizes_with.value),
    )
    return all(same)

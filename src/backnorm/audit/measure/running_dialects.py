"""Which dialects store their running statistics in the way that was measured."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from backnorm.dialects import DIALECTS, row_of

if TYPE_CHECKING:
    from backnorm.dialects import Row
    from backnorm.dialects.columns import Storage

__all__ = ["MeasuredStorage", "dialects_that_store"]


@dataclass(frozen=True, slots=True)
class MeasuredStorage:
    """How a layer stores its running statistics, in the words of the dialect table's columns.

    Attributes
    ----------
    storage, running_var, copied_updates, updates_in
        As the columns of these names.
    cumulative
        Whether each batch weighs the same.
    normalizes_with
        As the column; None where that was not measured.
    """

    storage: Storage
    running_var: Literal["biased", "unbiased"]
    copied_updates: int
    updates_in: Literal["forward", "backward"]
    cumulative: bool
    normalizes_with: Literal["batch", "blend"] | None


def dialects_that_store(measured: MeasuredStorage) -> tuple[str, ...]:
    """Return the names of the dialects that store their statistics in this way."""
    return tuple(name for name in DIALECTS if _agrees(row_of(name), measured))


def _agrees(row: Row, measured: MeasuredStorage) -> bool:
    # Where a framework returns new statistics, its caller stores them in the forward pass.
    when = "backward" if row.updates_in.value == "backward" else "forward"
    same = (
        row.storage.value == measured.storage,
        row.running_var.value == measured.running_var,
        when == measured.updates_in,
        row.momentum_none.value == "cumulative"
        if measured.cumulative
        else row.copied_updates.value == measured.copied_updates,
        measured.normalizes_with in (None, row.normalizes_with.value),
    )
    return all(same)

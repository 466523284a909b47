"""What each rank found in a pass, put together on all of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from torch import distributed

from backnorm.errors import RankError
from backnorm.torch.recalibration.pooled import PooledStatistics

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch.distributed import ProcessGroup

__all__ = ["Found", "is_first", "on_all_ranks"]


@dataclass(slots=True)
class Found:
    """What a pass over the batches of a rank found.

    Attributes
    ----------
    statistics
        Of each layer that was measured, by its name.
    calls
        The layers that were called, in the order of their first calls, and how often at most in one
        forward pass.
    batches
        How many batches there were.
    """

    statistics: dict[str, PooledStatistics] = field(default_factory=dict)
    calls: dict[str, int] = field(default_factory=dict)
    batches: int = 0

    def merge(self, other: Found) -> None:
        """Add what another rank found."""
        for name, statistics in other.statistics.items():
            self.statistics.setdefault(name, PooledStatistics()).merge(statistics)
        for name, calls in other.calls.items():
            self.calls[name] = max(calls, self.calls.get(name, 0))
        self.batches += other.batches


def on_all_ranks(group: ProcessGroup | None, run: Callable[[], Found]) -> Found:
    """Return what run found on all ranks of a group; of this process alone without one.

    If it fails on one rank, it is an error on all of them: none waits for another.
    """
    if not _is_shared(group):
        return run()
    try:
        own = run()
    except BaseException:
        _gathered(group, None)
        raise
    total = Found()
    failed = []
    for rank, found in enumerate(_gathered(group, own)):
        if found is None:
            failed.append(rank)
        else:
            total.merge(found)
    if failed:
        raise RankError.failed(failed)
    return total


def is_first(group: ProcessGroup | None) -> bool:
    """Whether this process tells how far the work is."""
    return not _is_shared(group) or distributed.get_rank(group) == 0


def _is_shared(group: ProcessGroup | None) -> bool:
    return group is not None and distributed.is_available() and distributed.is_initialized()


def _gathered(group: ProcessGroup | None, own: Found | None) -> list[Found | None]:
    found: list[Found | None] = [None] * distributed.get_world_size(group)
    distributed.all_gather_object(found, own, group=group)
    return found

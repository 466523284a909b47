"""What four ranks compute for test_bits.py, all in one start; odd ranks without the C++ part."""

from __future__ import annotations

from typing import Any

from torch import distributed

from with_torch.distributed import steps, truth

__all__ = ["run"]


def run(rank: int) -> tuple[list[Any], list[Any]]:
    """Return the steps, and the sums, on groups of the first 1, 2, 3 and 4 ranks."""
    if rank % 2:
        steps.use_numpy()
    groups = [distributed.new_group(list(range(size))) for size in (1, 2, 3, 4)]
    return steps.on_ranks(rank, groups), truth.sums(rank, groups)

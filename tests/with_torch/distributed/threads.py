"""Ranks that are threads of one process, each with a gloo group of its own."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import torch
from torch import distributed

from with_torch.distributed import steps

__all__ = ["SETTINGS", "run"]

RANKS = 8


SETTINGS = [setting for setting in steps.SETTINGS if setting.offset == 1e5]
"""One of each dtype."""


def run(_: int) -> list[list[Any]]:
    """Return the part of each rank, for each setting."""
    torch.set_num_threads(1)
    store = distributed.HashStore()
    with ThreadPoolExecutor(RANKS) as pool:
        groups = list(pool.map(lambda rank: _group(store, rank), range(RANKS)))
        return [
            list(
                pool.map(
                    lambda rank, s=setting: steps.part(s, groups[rank], RANKS, rank), range(RANKS)
                )
            )
            for setting in SETTINGS
        ]


def _group(store: Any, rank: int) -> Any:
    """Return a group of all threads, which PyTorch finds by a name of this one."""
    group = distributed.ProcessGroup(store, rank, RANKS)
    gloo = distributed.ProcessGroupGloo(store, rank, RANKS, timedelta(seconds=60))
    kind = distributed.ProcessGroup.BackendType.GLOO
    group._set_default_backend(kind)
    group._register_backend(torch.device("cpu"), kind, gloo)
    group._set_group_name(f"thread {rank}")
    torch._C._distributed_c10d._register_process_group(group.group_name, group)
    return group

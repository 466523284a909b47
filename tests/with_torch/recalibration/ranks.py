"""One process of several that compute running statistics together: rank, ranks, meeting, result."""

from __future__ import annotations

import os
import sys
from datetime import timedelta

import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

from backnorm.errors import RankError
from backnorm.torch import update_bn

DATA = torch.randn(37, 3, generator=torch.Generator().manual_seed(3)) + torch.arange(37)[:, None]
"""Sorted: each rank sees another part of it."""

CUTS = (0, 0, 5, 37)
"""Where the share of each of three ranks begins: the first has nothing."""

THREADS = 1
"""In every process: the sums of PyTorch's layers, which compute y, round by the threads."""


def network() -> nn.Sequential:
    """Return two layers with nothing between them that rounds by the batch."""
    return nn.Sequential(nn.BatchNorm1d(3), nn.ReLU(), nn.BatchNorm1d(3))


def share(rank: int, ranks: int, size: int) -> list[torch.Tensor]:
    """Return the batches of a rank."""
    cuts = CUTS if ranks == 3 else (0, len(DATA))
    part = DATA[cuts[rank] : cuts[rank + 1]]
    return list(part.split(size)) if len(part) else []


def main(rank: int, ranks: int, meeting: str, result: str) -> None:
    """Write the statistics of both laws, and what an exception on one rank is on the others."""
    torch.set_num_threads(THREADS)
    distributed.init_process_group(
        "gloo",
        init_method=f"file://{meeting}",
        rank=rank,
        world_size=ranks,
        timeout=timedelta(seconds=600),
    )
    found = {}
    for variance in ("total", "within"):
        model = network()
        # In "within" the second layer's inputs depend on the batches, which are the same then.
        size = 4 + rank if variance == "total" else 5
        wrapped = DistributedDataParallel(model)
        world = distributed.group.WORLD
        update_bn(share(rank, ranks, size), wrapped, process_group=world, variance=variance)
        found[variance] = model.state_dict()
    model = network()
    try:
        data = [DATA[:, :1]] if rank == ranks - 1 else [DATA]  # of one channel in place of three
        update_bn(data, model, process_group=distributed.group.WORLD)
    except RankError as error:
        found["error"] = str(error)
    except RuntimeError as error:
        found["error"] = type(error).__name__
    found["after"] = model.state_dict()
    torch.save(found, result)
    distributed.barrier()
    del model, wrapped
    distributed.destroy_process_group()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), *sys.argv[3:5])
    # PyTorch's threads may still run, and a process that ends around them may abort.
    sys.stderr.flush()
    os._exit(0)

"""One process of two that train a network together: rank, file to meet in, file for the result."""

from __future__ import annotations

import os
import sys
from datetime import timedelta
from pathlib import Path

import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

from backnorm.torch import conversion_report, convert

STEPS, SAMPLES = 3, 4


def network() -> nn.Sequential:
    """Return a small network, the same every time."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 16, 2)
    ).double()


def images(step: int, rank: int) -> torch.Tensor:
    """Return what a rank sees in a step."""
    generator = torch.Generator().manual_seed(10 * step + rank)
    return torch.randn(SAMPLES, 2, 6, 6, generator=generator, dtype=torch.float64)


def main(rank: int, meeting: str, result: str) -> None:
    """Train, and write the weights and the gradients of the last step."""
    distributed.init_process_group(
        "gloo",
        init_method=f"file://{meeting}",
        rank=rank,
        world_size=2,
        timeout=timedelta(seconds=600),
    )
    own = network()
    assert conversion_report(convert(own)).converted == 1
    model = DistributedDataParallel(own)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for step in range(STEPS):
        optimizer.zero_grad()
        model(images(step, rank)).square().mean().backward()
        optimizer.step()
    torch.save({name: value.detach() for name, value in own.named_parameters()}, result)
    # The threads of the process group end with the last reference to it, which the model holds, and
    # have to end before the interpreter does. No rank leaves while the other may still need it.
    distributed.barrier()
    del model
    distributed.destroy_process_group()


if __name__ == "__main__":
    main(int(sys.argv[1]), *map(str, map(Path, sys.argv[2:4])))
    # PyTorch's threads may still run, and a process that ends around them may abort.
    sys.stderr.flush()
    os._exit(0)

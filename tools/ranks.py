"""Time a training step of ResNet-50's normalizations on two ranks of one machine, in six ways.

    python tools/ranks.py [--batch 8] [--rounds 5]

Each rank is a process with one thread and `batch` samples. The ways are taken in turn: a layer of
the engine that is not synchronized, the same with exact sums, SyncBatchNorm in its three modes (a
group has both ranks), and what torch.nn.SyncBatchNorm computes, by PyTorch's operations on the CPU.
The table has the sum of the medians over all layers, in milliseconds of forward and backward, and
the quotient by the first. That of the modes "group" and "step" includes one merge_statistics of all
layers, whose median the last line has.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import torch
from torch import distributed, multiprocessing
from torch.nn import functional

from backnorm.bench.suites import cases
from backnorm.torch import BatchNorm2d, SyncBatchNorm, merge_statistics

if TYPE_CHECKING:
    from collections.abc import Callable

RANKS = 2
GROUP, STEP = 'SyncBatchNorm, synchronize="group"', 'SyncBatchNorm, synchronize="step"'
EPS = 1e-5


class Stock(torch.autograd.Function):
    """The arithmetic of torch.nn.SyncBatchNorm: float32, statistics of all ranks gathered."""

    @staticmethod
    def forward(
        ctx: Any, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor
    ) -> torch.Tensor:
        """Return y."""
        own_var, own_mean = torch.var_mean(x, (0, 2, 3), correction=0)
        count = torch.full((1,), x.numel() / x.shape[1])
        own = torch.cat([own_mean, (own_var + EPS).rsqrt(), count])
        every = [torch.empty_like(own) for _ in range(RANKS)]
        distributed.all_gather(every, own)
        means, inverses, counts = torch.stack(every).split([x.shape[1], x.shape[1], 1], 1)
        total = counts.sum()
        mean = (means * counts).sum(0) / total
        variances = inverses**-2 - EPS
        var = ((variances + (means - mean) ** 2) * counts).sum(0) / total
        ctx.save_for_backward(x, weight, mean, (var + EPS).rsqrt(), total)
        return functional.batch_norm(x, mean, var, weight, bias, training=False, eps=EPS)

    @staticmethod
    def backward(ctx: Any, dy: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Return the gradients; those of the parameters are the rank's."""
        x, weight, mean, inv_std, total = ctx.saved_tensors
        shape = (1, -1, 1, 1)
        centred = x - mean.view(shape)
        sums = torch.stack([dy.sum((0, 2, 3)), (dy * centred).sum((0, 2, 3))])
        dweight, dbias = sums[1] * inv_std, sums[0].clone()
        distributed.all_reduce(sums)
        plain, product = sums / total
        factor = (inv_std * inv_std * product).view(shape)
        dx = (dy - plain.view(shape) - centred * factor) * (inv_std * weight).view(shape)
        return dx, dweight, dbias


def ways(channels: int) -> dict[str, Callable[[torch.Tensor], torch.Tensor]]:
    """Return the ways by their names."""
    weight, bias = torch.ones(channels).requires_grad_(), torch.zeros(channels).requires_grad_()
    return {
        "not synchronized": BatchNorm2d(channels),
        "not synchronized, exact sums": BatchNorm2d(channels, sums="exact"),
        "SyncBatchNorm": SyncBatchNorm(channels),
        GROUP: SyncBatchNorm(channels, synchronize="group", group_size=RANKS),
        STEP: SyncBatchNorm(channels, synchronize="step"),
        "the arithmetic of torch.nn.SyncBatchNorm": lambda x: Stock.apply(x, weight, bias),
    }


def timed(shape: tuple[int, ...], rounds: int) -> dict[str, float]:
    """Return the median time of a step of each way."""
    x = torch.randn(shape).requires_grad_()
    dy = torch.randn(shape)
    calls = ways(shape[1])
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds + 1):
        for name, call in calls.items():
            distributed.barrier()
            start = time.perf_counter()
            call(x).backward(dy)
            x.grad = None
            times[name].append(time.perf_counter() - start)
    return {name: median(each[1:]) for name, each in times.items()}


def merging(rounds: int) -> float:
    """Return the median time of merge_statistics of all layers, after a pass."""
    layers = [
        SyncBatchNorm(case.shape[1], synchronize="step")
        for case in cases("resnet50")
        for _ in range(case.weight)
    ]
    model = torch.nn.ModuleList(layers)
    times = []
    for _ in range(rounds + 1):
        for layer in layers:
            layer(torch.randn(8, layer.num_features))
        distributed.barrier()
        start = time.perf_counter()
        merge_statistics(model)
        times.append(time.perf_counter() - start)
    return median(times[1:])


def run(rank: int, meeting: str, batch: int, rounds: int) -> None:
    """Time all shapes; rank 0 prints the table."""
    torch.set_num_threads(1)
    distributed.init_process_group(
        "gloo", init_method=f"file://{meeting}", rank=rank, world_size=RANKS
    )
    totals: dict[str, float] = {}
    for case in cases("resnet50"):
        for name, seconds in timed((batch, *case.shape[1:]), rounds).items():
            totals[name] = totals.get(name, 0.0) + case.weight * seconds
    merge = merging(rounds)
    for name in (GROUP, STEP):
        totals[name] += merge
    totals["merge_statistics alone"] = merge
    first = next(iter(totals.values()))
    for name, seconds in totals.items() if rank == 0 else ():
        print(f"{name:42} {1e3 * seconds:8.1f} ms {seconds / first:6.2f}")
    distributed.destroy_process_group()


def main() -> None:
    """Start the ranks."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        meeting = str(Path(folder) / "meeting")
        multiprocessing.spawn(run, (meeting, options.batch, options.rounds), nprocs=RANKS)


if __name__ == "__main__":
    main()

"""A synchronized layer in what PyTorch offers beside DDP: FSDP2, Join, torch.export, torch.func."""

from __future__ import annotations

import os
import tempfile
import warnings
from typing import Any

import torch
from torch import distributed, nn
from torch.distributed.algorithms.join import Join, Joinable, JoinHook
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard

from backnorm.torch import SyncBatchNorm

__all__ = ["compiled", "run"]

STEPS = 3


def network(**options: Any) -> nn.Sequential:
    """Return a small network, always the same."""
    torch.manual_seed(0)
    norm = SyncBatchNorm(6, activation="relu", **options)
    return nn.Sequential(nn.Linear(4, 6), norm, nn.Linear(6, 2))


def images(step: int, rank: int) -> torch.Tensor:
    """Return the samples of a rank."""
    rng = torch.Generator().manual_seed(10 * step + rank)
    return torch.randn(3 + rank, 4, generator=rng)


def trained(model: nn.Module, rank: int, average: Any) -> None:
    """Take some steps; average(model) makes gradients those of all ranks."""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    for step in range(STEPS):
        optimizer.zero_grad()
        model(images(step, rank)).square().sum().backward()
        average(model)
        optimizer.step()


def averaged(model: nn.Module) -> None:
    """Average the gradients over the ranks."""
    for parameter in model.parameters():
        distributed.all_reduce(parameter.grad)
        parameter.grad /= distributed.get_world_size()


def fsdp(rank: int) -> tuple[list[Any], list[Any]]:
    """Return the parameters of a sharded model, and those of one that is not."""
    sharded, plain = network(), network()
    mesh = init_device_mesh("cpu", (2,))
    for layer in sharded:
        fully_shard(layer, mesh=mesh)
    fully_shard(sharded, mesh=mesh)
    trained(sharded, rank, lambda _: None)
    trained(plain, rank, averaged)
    whole = [p.full_tensor().tolist() for p in sharded.parameters()]
    whole += [b.tolist() for b in sharded.buffers()]
    return whole, [t.tolist() for t in (*plain.parameters(), *plain.buffers())]


class OnEmptyBatches(Joinable):
    """A rank without batches passes empty ones, so that it takes part in all collectives."""

    def __init__(self, step: Any) -> None:
        super().__init__()
        self.step = step

    def join_hook(self, **_: Any) -> JoinHook:
        """Return what runs while other ranks still have batches."""
        hook = JoinHook()
        hook.main_hook = self.step  # type: ignore[method-assign]
        return hook

    @property
    def join_device(self) -> torch.device:
        """The device of the collectives of Join."""
        return torch.device("cpu")

    @property
    def join_process_group(self) -> Any:
        """The group of the collectives of Join."""
        return distributed.group.WORLD


def joined(rank: int) -> list[Any]:
    """Return parameters after steps of which rank 1 has fewer."""
    model = nn.parallel.DistributedDataParallel(network())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)

    def step(x: torch.Tensor) -> None:
        optimizer.zero_grad()
        model(x).square().sum().backward()
        optimizer.step()

    empty = OnEmptyBatches(lambda: step(torch.empty(0, 4)))
    with Join([empty]):
        for at in range(STEPS - rank):
            Join.notify_join_context(empty)
            step(images(at, rank))
    return [t.tolist() for t in (*model.parameters(), *model.buffers())]


def exported(rank: int) -> tuple[list[Any], list[Any]]:
    """Return y of the program that torch.export makes of a training pass, and of a call."""
    model, x = network(), images(0, rank)
    program = torch.export.export(network(), (x,))
    return program.module()(x).tolist(), model(x).tolist()


def transformed(rank: int) -> tuple[list[Any], list[Any]]:
    """Return gradients by torch.func, and by autograd.

    torch.func forbids to count batches, as in PyTorch's own layers.
    """
    model, x = network(track_running_stats=False), images(0, rank)

    def loss(parameters: dict[str, torch.Tensor]) -> torch.Tensor:
        return torch.func.functional_call(model, parameters, (x,)).square().sum()

    by_func = torch.func.grad(loss)(dict(model.named_parameters()))
    by_autograd = torch.autograd.grad(model(x).square().sum(), list(model.parameters()))
    return [g.tolist() for g in by_func.values()], [g.tolist() for g in by_autograd]


def compiled(rank: int) -> tuple[list[Any], list[Any]]:
    """Return gradients of a model that inductor has compiled as one graph, and of a plain one."""
    plain, x = network(), images(0, rank)
    model: Any = network()
    found = []
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".torch.jit.script_method", DeprecationWarning)
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = folder
        with torch._inductor.config.patch(compile_threads=1):
            for call in (torch.compile(model, fullgraph=True), plain):
                y = call(x)
                gradients = torch.autograd.grad(y.square().sum(), list(call.parameters()))
                found.append([t.tolist() for t in (y, *gradients, *call.buffers())])
    return found[0], found[1]


def run(rank: int) -> dict[str, Any]:
    """Return the results of each."""
    return {part.__name__: part(rank) for part in (fsdp, transformed, exported, joined)}

"""A small network on two ranks: in DistributedDataParallel, compiled, and with checkpoints."""

from __future__ import annotations

from typing import Any

import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.checkpoint import checkpoint

from backnorm.torch import BatchNorm2d, BatchNormAct2d, SyncBatchNorm
from backnorm.torch.distributed import operators

__all__ = ["checked", "images", "layer_results", "network", "trains"]

STEPS, SAMPLES = 3, 6
CUT = (4, 6)
"""Where the samples of rank 1 begin and end: the loss is a sum, so ranks may have any number."""


def network() -> nn.Sequential:
    """Return a network with a layer of torch.nn and one with an activation, always the same."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(2, 4, 3),
        nn.BatchNorm2d(4),
        nn.Conv2d(4, 4, 1),
        BatchNormAct2d(4, activation="leaky_relu", sums="exact"),
        nn.Flatten(),
        nn.Linear(4 * 16, 2),
    )


def images(step: int) -> torch.Tensor:
    """Return what all ranks see in a step."""
    generator = torch.Generator().manual_seed(10 * step)
    return torch.randn(SAMPLES, 2, 6, 6, generator=generator)


def loss(y: torch.Tensor) -> torch.Tensor:
    """Return a loss that adds up over samples."""
    return y.square().sum()


def layer_results(call: Any, layer: SyncBatchNorm, rank: int) -> list[Any]:
    """Return y, gradients and running statistics of a layer, as lists."""
    rng = torch.Generator().manual_seed(rank)
    x = torch.randn(3 + rank, 4, 5, generator=rng).requires_grad_()
    dy = torch.randn(x.shape, generator=rng)
    y = call(x)
    grads = torch.autograd.grad(y, [x, layer.weight, layer.bias], dy)
    return [t.tolist() for t in (y, *grads, layer.running_mean, layer.running_var)]


def checked(rank: int) -> dict[str, str]:
    """Return what PyTorch says of the operator; all ranks take the same collectives."""
    rng = torch.Generator().manual_seed(rank)
    x = torch.randn(3 + rank, 4, 5, generator=rng).requires_grad_()
    weight, bias = torch.ones(4).requires_grad_(), torch.zeros(4).requires_grad_()
    group = distributed.group.WORLD
    assert group is not None
    arguments = (
        x,
        weight,
        bias,
        None,
        None,
        torch.tensor(0),
        4,
        False,
        False,
        group.group_name,
        1e-5,
        "relu",
        0.01,
        "both",
    )
    found: dict[str, str] = torch.library.opcheck(operators.FORWARD, arguments)
    return found


def trains(rank: int) -> dict[str, Any]:
    """Return weights after some steps, and the results of a layer in each way to call it."""
    model = SyncBatchNorm.convert_sync_batchnorm(network())
    ddp = DistributedDataParallel(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    own = slice(0, CUT[0]) if rank == 0 else slice(*CUT)
    for step in range(STEPS):
        optimizer.zero_grad()
        loss(ddp(images(step)[own])).backward()
        optimizer.step()
    results: dict[str, Any] = {"state": {k: v.clone() for k, v in model.state_dict().items()}}
    for name, wrap in (
        ("plain", lambda layer: layer),
        ("compiled", lambda layer: torch.compile(layer, backend="aot_eager", fullgraph=True)),
        ("checkpoint", lambda layer: lambda x: checkpoint(layer, x, use_reentrant=False)),
    ):
        layer = SyncBatchNorm(4, momentum=0.0 if name == "checkpoint" else 0.1)
        results[name] = layer_results(wrap(layer), layer, rank)
    half = distributed.new_group([0])
    alone = distributed.new_group([1])
    layer = SyncBatchNorm(4, process_group=half if rank == 0 else alone)
    results["own group"] = layer_results(layer, layer, rank)
    plain = BatchNorm2d(4, sums="exact")
    results["alone"] = layer_results(lambda x: plain(x[..., None])[..., 0], plain, rank)  # type: ignore[arg-type]
    results["checked"] = checked(rank)
    del ddp
    return results

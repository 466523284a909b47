"""Layers that synchronize within groups or once a step, on four ranks, for test_modes.py."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.checkpoint import checkpoint

from backnorm.torch import SyncBatchNorm, batch_norm, merge_statistics
from backnorm.torch.distributed import groups
from with_torch.distributed.counting import counting_group

__all__ = ["CASES", "GROUPS", "STEPS", "Case", "batch", "joined", "normalized", "run", "training"]

RANKS, STEPS, SAMPLES, CHANNELS = 4, 4, 13, 3
CUTS = ((3, 4, 2, 4), (0, 6, 7, 0), (13, 0, 0, 0), (4, 3, 3, 3))
"""How many samples each rank has in a step; the last rank of a group of fewer has the rest."""


class Case(NamedTuple):
    """What a layer is given; `passes` is the number of its micro-batches in a step."""

    dtype: torch.dtype = torch.float32
    offset: float = 0.0
    passes: int = 1
    masked: bool = False
    momentum: float | None = 0.1


CASES = [
    Case(),
    Case(offset=1e5, passes=3),
    Case(torch.bfloat16, offset=1e2, passes=2),
    Case(torch.float16, masked=True),
    Case(offset=1e7, passes=2, masked=True),
    Case(torch.float64, offset=1e3),
    Case(momentum=None, passes=2),
]

GROUPS = {1: (1, 1, 1, 1), 2: (2, 2), 3: (4,), 8: (4,)}
"""How many ranks each group of four ranks has, of such a size."""


def batch(case: Case, step: int) -> dict[str, torch.Tensor]:
    """Return what all ranks have; what the mask hides is not finite."""
    rng = torch.Generator().manual_seed(100 * CASES.index(case) + step)
    x, dy = torch.randn(2, SAMPLES, CHANNELS, 5, generator=rng, dtype=torch.float64)
    mask = torch.rand(SAMPLES, 5, generator=rng) < (0.7 if case.masked else 2.0)
    x = (x + case.offset).to(case.dtype)
    x.movedim(1, -1)[~mask] = float("nan")
    return {"x": x, "dy": dy.to(case.dtype), "mask": mask}


def cut(ranks: int, rank: int, step: int) -> slice:
    """Return the samples of a rank."""
    sizes = [*CUTS[step % len(CUTS)][: ranks - 1], SAMPLES]
    begin = sum(sizes[:rank])
    return slice(begin, min(begin + sizes[rank], SAMPLES))


def normalized(layer: Any, part: dict[str, torch.Tensor], case: Case) -> list[torch.Tensor]:
    """Return y and dx of a pass."""
    x = part["x"].clone().requires_grad_()
    y = layer(x, mask=part["mask"]) if case.masked else layer(x)
    y.backward(part["dy"])
    assert x.grad is not None
    return [y.detach(), x.grad]


def part_of(whole: dict[str, torch.Tensor], own: slice) -> dict[str, torch.Tensor]:
    """Return some samples."""
    return {name: value[own] for name, value in whole.items()}


def micro_batches(own: dict[str, torch.Tensor], case: Case) -> list[dict[str, torch.Tensor]]:
    """Return the parts of a batch."""
    count = -(-len(own["x"]) // case.passes) or 1
    return [part_of(own, slice(k * count, (k + 1) * count)) for k in range(case.passes)]


def training(case: Case, group: Any, ranks: int, rank: int, **options: Any) -> dict[str, Any]:
    """Return y and dx of each pass of a rank, and the state after each step."""
    layer = SyncBatchNorm(CHANNELS, momentum=case.momentum, process_group=group, **options)
    layer = layer.to(torch.float64 if case.dtype == torch.float64 else torch.float32)
    passes, states = [], []
    for step in range(STEPS):
        own = part_of(batch(case, step), cut(ranks, rank, step))
        passes += [normalized(layer, part, case) for part in micro_batches(own, case)]
        merge_statistics(layer)
        states.append({name: v.clone() for name, v in layer.state_dict().items()})
    return {"passes": passes, "states": states}


def joined(case: Case) -> list[dict[str, torch.Tensor]]:
    """Return the running statistics after each step of one process that has all samples."""
    wide = torch.float64 if case.dtype == torch.float64 else torch.float32
    mean, var = torch.zeros(CHANNELS, dtype=wide), torch.ones(CHANNELS, dtype=wide)
    found = []
    for step in range(STEPS):
        whole = batch(case, step)
        momentum = 1 / (step + 1) if case.momentum is None else case.momentum
        exact = {"training": True, "momentum": momentum, "sums": "exact"}
        x = whole["x"].movedim(1, -1)[whole["mask"]]
        batch_norm(x, mean, var, **exact)  # type: ignore[arg-type]
        found.append({"running_mean": mean.clone(), "running_var": var.clone()})
    return found


def in_groups(rank: int) -> dict[int, dict[str, Any]]:
    """Return the training of a rank with each size of groups."""
    options: dict[str, Any] = {"synchronize": "group"}
    return {
        size: training(CASES[0], None, RANKS, rank, group_size=size, **options) for size in GROUPS
    }


def network(**options: Any) -> nn.Sequential:
    """Return a network of two layers of the same kind, always the same."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2), nn.BatchNorm1d(2))
    return SyncBatchNorm.convert_sync_batchnorm(model, **options)


def images(rank: int, step: int = 0) -> torch.Tensor:
    """Return the samples of a rank."""
    return torch.randn(4 + rank, 3, generator=torch.Generator().manual_seed(10 * step + rank))


def buffers(model: nn.Module) -> list[Any]:
    """Return the running statistics as lists."""
    return [value.tolist() for value in model.buffers()]


def counted(rank: int) -> dict[str, list[int]]:
    """Return the bytes of the collectives of two steps, beside those of a jump of the scale."""
    group = counting_group()
    found = {}
    model = network(process_group=group, synchronize="step")
    for name, scale in (("first", 1.0), ("second", 1.0), ("jump", 1e30), ("infinite", 1e39)):
        group.sizes.clear()
        model(images(rank) * scale).sum().backward()
        found[f"{name} pass"] = list(group.sizes)
        merge_statistics(model)
        found[name] = list(group.sizes)
    group.sizes.clear()
    model.eval()(images(rank))
    merge_statistics(model)
    found["evaluation"] = list(group.sizes)
    model = network(process_group=group, synchronize="group", group_size=2)
    name = groups.around(group.group_name, 2)
    pair: Any = distributed.distributed_c10d._resolve_process_group(name)
    for step in ("first", "second"):
        pair.sizes.clear(), group.sizes.clear()
        model.train()(images(rank)).sum().backward()
        found[f"{step} pass of a group"] = list(pair.sizes)
        merge_statistics(model)
        found[f"{step} of groups"] = list(group.sizes)
    return found


def said(call: Any, *arguments: Any) -> str:
    """Return the error of a call."""
    try:
        call(*arguments)
    except Exception as error:  # noqa: BLE001 - what a test compares
        return f"{type(error).__name__}: {error}"
    return ""


def failing(rank: int) -> dict[str, Any]:
    """Return the errors of every rank where rank 1 is at fault, and the statistics after them."""
    found: dict[str, Any] = {}
    for mode in ({"synchronize": "step"}, {"synchronize": "group", "group_size": 2}):
        model = network(**mode)
        model(images(rank))
        in_pass = said(model[1], torch.randn(5, 4 - (rank == 1)))
        found[str(mode["synchronize"])] = [
            in_pass,
            said(merge_statistics, model),
            buffers(model),
            said(model.state_dict),
        ]
        model(images(rank))
        merge_statistics(model)
        found[f"{mode['synchronize']} after it"] = buffers(model)
    other = nn.Sequential(*(SyncBatchNorm(3, synchronize="step") for _ in range(2 + (rank == 1))))
    found["layers"] = [said(merge_statistics, other)]
    order = [SyncBatchNorm(3 + (k == (rank == 1)), synchronize="step") for k in range(2)]
    found["order"] = [said(merge_statistics, nn.Sequential(*order))]
    pair = distributed.new_group([0, 1])
    some = SyncBatchNorm(3, process_group=pair, synchronize="group", group_size=1)
    found["some ranks"] = [said(some, images(rank)) if rank < 2 else ""]
    one = network(synchronize="step")
    found["one value"] = [said(one, images(rank)[: 1 if rank == 1 else None])]
    found["one value"].append(said(merge_statistics, one))
    return found


def tools(rank: int) -> dict[str, Any]:
    """Return running statistics by PyTorch's tools, each beside those of a plain call."""
    found: dict[str, Any] = {}
    plain = network(synchronize="step")
    model: Any = network(synchronize="step")
    wrapped = DistributedDataParallel(model)
    for step in range(3):
        wrapped(images(rank, step)).sum().backward()
        merge_statistics(wrapped)
        plain(images(rank, step))
        merge_statistics(plain)
    found["DistributedDataParallel"] = buffers(model), buffers(plain)
    for name in ("torch.compile", "checkpoint", "compiled and checkpoint"):
        model = network(synchronize="step")
        call = model
        if "compile" in name:
            call = torch.compile(model, backend="aot_eager", fullgraph=True)
        for step in range(3):
            x = images(rank, step).requires_grad_()
            y = call(x) if name == "torch.compile" else checkpoint(call, x, use_reentrant=False)
            y.sum().backward()
            merge_statistics(model)
        found[name] = buffers(model), buffers(plain)
    model = network(synchronize="group", group_size=2)
    call = torch.compile(model, backend="aot_eager", fullgraph=True)
    plain = network(synchronize="group", group_size=2)
    ys = [each(images(rank)).tolist() for each in (call, plain)]
    merge_statistics(model), merge_statistics(plain)
    found["compiled group"] = [ys[0], buffers(model)], [ys[1], buffers(plain)]
    return found


def unusual(rank: int) -> dict[str, Any]:
    """Return what layers hold after steps in which some or all are not called."""
    found: dict[str, Any] = {}
    model = network(synchronize="step")
    merge_statistics(model)
    found["no pass"] = buffers(model)
    model(images(rank)[:0])
    merge_statistics(model)
    found["empty"] = buffers(model)
    model[1](torch.ones(2 + rank, 4))  # the other layer is not called
    merge_statistics(model)
    found["one layer"] = buffers(model)
    layer = SyncBatchNorm(3, momentum=1.0, synchronize="step")
    if rank == 2:
        layer(images(rank))
    layer(images(rank).to(torch.float64 if rank == 1 else torch.float32))
    merge_statistics(layer)
    found["mixed dtypes"] = buffers(layer)
    empty = images(rank)[: 0 if rank < 2 else None].requires_grad_()
    group = network(synchronize="group", group_size=2)
    group(empty).sum().backward()
    found["empty group"] = [p.grad.tolist() for p in group.parameters()]
    merge_statistics(group)
    found["of the others"] = buffers(group)
    return found


def run(rank: int) -> dict[str, Any]:
    """Return the results of each part."""
    whole = {size: distributed.new_group(list(range(size))) for size in range(1, RANKS + 1)}
    return {
        "step": {
            (k, ranks): training(case, whole[ranks], ranks, rank, synchronize="step")
            for k, case in enumerate(CASES)
            for ranks in whole
            if rank < ranks
        },
        "group": in_groups(rank),
        "counted": counted(rank),
        "failing": failing(rank),
        "tools": tools(rank),
        "unusual": unusual(rank),
    }

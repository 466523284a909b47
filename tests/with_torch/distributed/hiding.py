"""Masked batches on two ranks, by the module and by the function, and in one process."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import distributed

from backnorm.torch import SyncBatchNorm, batch_norm
from with_torch.distributed.counting import counting_group

__all__ = ["CASES", "Case", "alone", "bytes_of_function", "doubles", "results"]

SAMPLES, CHANNELS, PLACES, CUT = 7, 3, (2, 5), 3
NAMES = ("y", "dx", "dresidual", "dweight", "dbias", "running_mean", "running_var")


class Case(NamedTuple):
    """A batch; `shown` is the share of positions that count on each rank."""

    dtype: torch.dtype = torch.float32
    activation: Any = "identity"
    residual: bool = False
    shown: tuple[float, float] = (0.6, 0.6)


class Given(NamedTuple):
    """What is called with."""

    x: torch.Tensor
    residual: torch.Tensor | None
    mask: torch.Tensor
    weight: torch.Tensor
    bias: torch.Tensor
    mean: torch.Tensor
    var: torch.Tensor


CASES = [
    Case(),
    Case(torch.bfloat16, "relu", residual=True),
    Case(torch.float16, "leaky_relu"),
    Case(shown=(0.6, 0.0)),
    Case(shown=(1.0, 0.3), residual=True),
]


def batch(case: Case) -> dict[str, Any]:
    """Return the whole batch; what the mask hides is not finite."""
    rng = torch.Generator().manual_seed(CASES.index(case))
    shape = (3, SAMPLES, CHANNELS, *PLACES)
    x, dy, residual = torch.randn(shape, generator=rng).unbind()
    drawn = torch.rand(SAMPLES, *PLACES, generator=rng)
    share = torch.tensor([case.shown[k >= CUT] for k in range(SAMPLES)])
    mask = drawn < share[:, None, None]
    for values, hidden in ((x, float("nan")), (dy, 1e4), (residual, float("inf"))):
        values.movedim(1, -1)[~mask] = hidden
    weight, bias = torch.rand(2, CHANNELS, generator=rng).unbind()
    given = {"x": x + 0.0, "dy": dy, "residual": residual}
    return {k: v.to(case.dtype) for k, v in given.items()} | {
        "mask": mask,
        "weight": weight,
        "bias": bias,
    }


def called(case: Case, own: slice, call: Any) -> dict[str, torch.Tensor]:
    """Return the results of a call."""
    b = batch(case)
    x, residual = (b[name][own].requires_grad_() for name in ("x", "residual"))
    weight, bias = (b[name].requires_grad_() for name in ("weight", "bias"))
    mean, var = torch.zeros(CHANNELS), torch.ones(CHANNELS)
    added = residual if case.residual else None
    y = call(Given(x, added, b["mask"][own], weight, bias, mean, var))
    y.backward(b["dy"][own])
    of_residual = residual.grad if case.residual else torch.zeros(len(x))
    return dict(
        zip(
            NAMES, (y.detach(), x.grad, of_residual, weight.grad, bias.grad, mean, var), strict=True
        )
    )


def alone(case: Case) -> dict[str, torch.Tensor]:
    """Return the results of the engine in one process."""

    def call(given: Given) -> Any:
        return batch_norm(
            given.x,
            given.mean,
            given.var,
            given.weight,
            given.bias,
            training=True,
            activation=case.activation,
            residual=given.residual,
            mask=given.mask,
            sums="exact",
        )

    return called(case, slice(None), call)


def results(rank: int) -> list[list[dict[str, torch.Tensor]]]:
    """Return the results of this rank in each case, by the module and by the function."""
    own = (slice(None, CUT), slice(CUT, None))[rank]
    return [
        [called(case, own, way) for way in (by_module(case), by_function(case))] for case in CASES
    ]


def by_module(case: Case) -> Any:
    """Return the call of a module."""

    def call(given: Given) -> Any:
        layer = SyncBatchNorm(CHANNELS, activation=case.activation, reduce_parameters=True)
        layer.weight, layer.bias = (
            torch.nn.Parameter(t.detach()) for t in (given.weight, given.bias)
        )
        layer.running_mean, layer.running_var = given.mean, given.var
        y = layer(given.x, given.residual, given.mask)
        for own, of in ((layer.weight, given.weight), (layer.bias, given.bias)):
            own.register_hook(lambda g, of=of: setattr(of, "grad", g.clone()))
        return y

    return call


def by_function(case: Case) -> Any:
    """Return the call of the function."""

    def call(given: Given) -> Any:
        return batch_norm(
            given.x,
            given.mean,
            given.var,
            given.weight,
            given.bias,
            training=True,
            activation=case.activation,
            residual=given.residual,
            mask=given.mask,
            process_group=distributed.group.WORLD,
            reduce_parameters=True,
        )

    return call


def bytes_of_function(rank: int) -> list[int]:
    """Return the sizes of the collectives of the function: two steps and an evaluation."""
    group = counting_group()
    mean, var = torch.zeros(3), torch.ones(3)
    x = torch.randn(4, 3, 5, generator=torch.Generator().manual_seed(rank)).requires_grad_()
    for training in (True, True, False):
        batch_norm(x, mean, var, training=training, process_group=group).sum().backward()
    return group.sizes


def doubles(rank: int) -> list[dict[str, torch.Tensor]]:
    """Return y, dx and statistics of float64: of both ranks, of a group of one, and of a mix."""
    rng = torch.Generator().manual_seed(5)
    x, dy = torch.randn(2, 8, 2, 3, dtype=torch.float64, generator=rng)
    x = (1e3 * x + 1e6).float().double()  # both dtypes hold it
    alone = [distributed.new_group([k]) for k in range(2)][rank]
    own = (slice(None, 5), slice(5, None))[rank]
    found = []
    for part, group, dtype in (
        (own, distributed.group.WORLD, torch.float64),
        (slice(None), alone, torch.float64),
        (own, distributed.group.WORLD, (torch.float32, torch.float64)[rank]),
    ):
        mean, var = torch.zeros(2, 2, dtype=torch.float64).unbind()
        of_x = x[part].to(dtype).requires_grad_()
        y = batch_norm(of_x, mean, var, training=True, momentum=1.0, process_group=group)
        y.backward(dy[part].to(dtype))
        found.append({"y": y.detach(), "dx": of_x.grad, "mean": mean, "var": var, "x": x})
    return found

"""Numerical derivatives of a layer on two ranks, each of which has a part of the same batch."""

from __future__ import annotations

import itertools
from typing import Any, NamedTuple

import torch
from torch import distributed
from torch.autograd import gradcheck, gradgradcheck

from backnorm.torch import SyncBatchNorm

__all__ = ["CASES", "Case", "checks"]

SHAPE, CUTS = (4, 2, 2), (1, 3)


class Case(NamedTuple):
    """What is differentiated."""

    activation: Any = "identity"
    masked: bool = False
    residual: bool = False
    reduce_parameters: bool = False
    cuts: tuple[int, int] = CUTS


CASES = [
    Case(),
    Case(reduce_parameters=True),
    Case(cuts=(0, 4)),
    Case("relu", residual=True),
    Case("leaky_relu", masked=True),
    Case("relu6", masked=True, residual=True, reduce_parameters=True),
]


class Take(torch.autograd.Function):
    """The samples of this rank, of a tensor that is the same on every rank."""

    @staticmethod
    def forward(ctx: Any, whole: torch.Tensor, cuts: tuple[int, int]) -> torch.Tensor:
        """Return them."""
        ctx.cuts = cuts
        edges = [0, *itertools.accumulate(cuts)]
        rank = distributed.get_rank()
        return whole[edges[rank] : edges[rank + 1]].clone()

    @staticmethod
    def backward(ctx: Any, own: torch.Tensor) -> tuple[Any, ...]:
        """Return the gradient of the whole."""
        return Gather.apply(own, ctx.cuts), None


class Gather(torch.autograd.Function):
    """The samples of all ranks."""

    @staticmethod
    def forward(ctx: Any, own: torch.Tensor, cuts: tuple[int, int]) -> torch.Tensor:
        """Return them."""
        ctx.cuts = cuts
        every: list[Any] = [None] * len(cuts)
        distributed.all_gather_object(every, own.detach())
        return torch.cat(every)

    @staticmethod
    def backward(ctx: Any, whole: torch.Tensor) -> tuple[Any, ...]:
        """Return the gradient of this rank's."""
        return Take.apply(whole, ctx.cuts), None


class Shared(torch.autograd.Function):
    """A parameter that is the same on every rank, of which each has a part of the gradient."""

    @staticmethod
    def forward(_: Any, parameter: torch.Tensor) -> torch.Tensor:
        """Return it."""
        return parameter.clone()

    @staticmethod
    def backward(_: Any, gradient: torch.Tensor) -> Any:
        """Add the parts."""
        return Sum.apply(gradient)


class Sum(torch.autograd.Function):
    """The sum over all ranks."""

    @staticmethod
    def forward(_: Any, part: torch.Tensor) -> torch.Tensor:
        """Return it."""
        total = part.clone()
        distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(_: Any, gradient: torch.Tensor) -> Any:
        """Return that of each part."""
        return Shared.apply(gradient)


class Whole(torch.autograd.Function):
    """A parameter that is the same on every rank, of which each has the whole gradient."""

    @staticmethod
    def forward(_: Any, parameter: torch.Tensor) -> torch.Tensor:
        """Return it."""
        return parameter.clone()

    @staticmethod
    def backward(_: Any, gradient: torch.Tensor) -> Any:
        """Return it."""
        return Once.apply(gradient)


class Once(torch.autograd.Function):
    """A gradient that every rank has: a loss of it is the sum of the losses of all ranks."""

    @staticmethod
    def forward(_: Any, gradient: torch.Tensor) -> torch.Tensor:
        """Return it."""
        return gradient.clone()

    @staticmethod
    def backward(_: Any, outer: torch.Tensor) -> Any:
        """Return the part of one rank."""
        return outer / distributed.get_world_size()


def checks(_: int) -> list[bool]:
    """Check the first and the second derivative in each case; all ranks ask the same."""
    return [check(case) for case in CASES]


def check(case: Case) -> bool:
    """Return whether PyTorch agrees; it raises an exception if not."""
    rng = torch.Generator().manual_seed(CASES.index(case))
    x, residual = torch.randn(2, *SHAPE, dtype=torch.float64, generator=rng).unbind()
    weight, bias = (torch.rand(2, SHAPE[1], dtype=torch.float64, generator=rng) + 0.5).unbind()
    mask = torch.rand(SHAPE[0], SHAPE[2], generator=rng) < 0.7
    given = [x, residual, weight, bias]
    layer = SyncBatchNorm(
        SHAPE[1],
        activation=case.activation,
        reduce_parameters=case.reduce_parameters,
        dtype=torch.float64,
        track_running_stats=False,
    )
    wrap = Whole.apply if case.reduce_parameters else Shared.apply

    def call(*tensors: torch.Tensor) -> torch.Tensor:
        own, added = (Take.apply(tensor, case.cuts) for tensor in tensors[:2])
        parameters = {"weight": wrap(tensors[2]), "bias": wrap(tensors[3])}
        keywords = {"mask": Take.apply(mask, case.cuts) if case.masked else None}
        arguments = (own, added if case.residual else None)
        y = torch.func.functional_call(layer, parameters, arguments, keywords)
        return Gather.apply(y, case.cuts)

    for tensor in given:
        tensor.requires_grad_()
    torch.manual_seed(0)
    gradcheck(call, given, fast_mode=True)
    torch.manual_seed(0)  # it draws the outer gradients
    return gradgradcheck(call, given, fast_mode=True)

"""What the ranks of test_same_bits.py compute, and what one process computes."""

from __future__ import annotations

import itertools
from typing import Any, NamedTuple

import torch
from torch import distributed

from backnorm import kernels
from backnorm.kernels import native_kernel
from backnorm.torch import SyncBatchNorm, batch_norm

__all__ = ["CASES", "Case", "alone", "run", "run_mixed"]

Tensors = dict[str, torch.Tensor]

SAMPLES, CHANNELS = 9, 5


class Case(NamedTuple):
    """A batch, and how it is cut: the samples of each rank.

    Attributes
    ----------
    cuts
        How many samples each rank has.
    dtype
        Of x; where there are several, of each rank, and x holds values of the narrowest.
    offset
        The mean over the standard deviation.
    shape
        Of a sample, without the channels.
    """

    cuts: tuple[int, ...]
    dtype: torch.dtype | tuple[torch.dtype, ...] = torch.float32
    offset: float = 0.0
    shape: tuple[int, ...] = (4, 7)
    activation: Any = "identity"
    through: Any = "both"
    residual: bool = False

    def of(self, rank: int) -> torch.dtype:
        """Return the dtype of a rank."""
        return self.dtype if isinstance(self.dtype, torch.dtype) else self.dtype[rank]

    @property
    def narrow(self) -> torch.dtype:
        """The dtype of the values."""
        return self.dtype if isinstance(self.dtype, torch.dtype) else torch.float16


CASES = [
    *(Case(cuts) for cuts in ((9, 0), (4, 5), (1, 8))),
    *(Case(cuts) for cuts in ((3, 3, 3), (0, 9, 0), (1, 1, 7))),
    *(Case(cuts) for cuts in ((2, 3, 0, 4), (1, 1, 1, 6))),
    *(
        Case((4, 5), dtype, offset)
        for dtype in (torch.float32, torch.float16, torch.bfloat16)
        for offset in (1.0, 1e2, 1e4)
    ),
    Case((2, 7), offset=1e7),
    Case((2, 7), (torch.float16, torch.float32)),
    *(Case((2, 3, 0, 4), activation=name) for name in ("relu", "relu6", "leaky_relu")),
    Case((3, 6), activation="relu", residual=True),
    *(Case((3, 6), through=name) for name in ("mean", "variance", "none")),
    Case((2, 3, 4), shape=()),
    Case((1, 1, 7), shape=(11,)),
    Case((4, 5), shape=(2, 3, 4)),
    Case((4, 5), shape=(40, 30)),
]


def batch(case: Case) -> Tensors:
    """Return the whole batch."""
    rng = torch.Generator().manual_seed(CASES.index(case))
    shape = (SAMPLES, CHANNELS, *case.shape)
    x, dy, residual = (torch.randn(shape, generator=rng) for _ in range(3))
    weight, bias = torch.rand(2, CHANNELS, generator=rng) + 0.5
    given = {"x": x + case.offset, "dy": dy, "residual": residual}
    return {**{k: v.to(case.narrow) for k, v in given.items()}, "weight": weight, "bias": bias}


def alone(case: Case) -> Tensors:
    """Return the results of one process by the function."""
    b = batch(case)
    x, residual = b["x"].requires_grad_(), b["residual"].requires_grad_()
    weight, bias = b["weight"].requires_grad_(), b["bias"].requires_grad_()
    mean, var = torch.zeros(CHANNELS), torch.ones(CHANNELS)
    y = batch_norm(
        x,
        mean,
        var,
        weight,
        bias,
        training=True,
        activation=case.activation,
        through=case.through,
        residual=residual if case.residual else None,
        sums="exact",
    )
    y.backward(b["dy"])
    of_residual = residual.grad if case.residual else torch.zeros(())
    return {
        "y": y.detach(),
        "dx": x.grad,
        "dresidual": of_residual,
        "dweight": weight.grad,
        "dbias": bias.grad,
        "running_mean": mean,
        "running_var": var,
    }


def run(rank: int) -> list[Tensors | None]:
    """Return the part of a rank in each case for so many ranks as there are."""
    ranks = distributed.get_world_size()
    return [part(case, rank) if len(case.cuts) == ranks else None for case in CASES]


def run_mixed(rank: int) -> list[Tensors | None]:
    """Return the same where odd ranks have no C++ part."""
    if rank % 2:
        native_kernel._native = None
        kernels.available.cache_clear()
        kernels.get.cache_clear()
    assert (kernels.get().name == "numpy") is bool(rank % 2)
    return run(rank)


def part(case: Case, rank: int) -> Tensors:
    """Return the results of one rank by the module; ranks differ in their memory format.

    The first pass sends whole limbs, the second one windows, where they fit.
    """
    b = batch(case)
    edges = list(itertools.accumulate(case.cuts, initial=0))
    own = slice(edges[rank], edges[rank + 1])
    dtype = case.of(rank)
    x, dy, residual = (b[name][own].to(dtype) for name in ("x", "dy", "residual"))
    if rank % 2 and x.dim() == 4:
        x = x.contiguous(memory_format=torch.channels_last)
    layer = SyncBatchNorm(CHANNELS, activation=case.activation, reduce_parameters=True)
    layer.through = case.through
    with torch.no_grad():
        layer.weight.copy_(b["weight"])
        layer.bias.copy_(b["bias"])
    first, second = (results(layer, case, x, residual, dy) for _ in "12")
    for name, value in second.items():
        assert torch.equal(value, first[name]), name
    return second


def results(
    layer: SyncBatchNorm, case: Case, x: torch.Tensor, residual: torch.Tensor, dy: torch.Tensor
) -> Tensors:
    """Return what one pass gives."""
    layer.reset_running_stats()
    layer.zero_grad()
    x, residual = (t.detach().requires_grad_() for t in (x, residual))
    y = layer(x, residual if case.residual else None)
    y.backward(dy)
    return {
        "y": y.detach().contiguous(),
        "dx": x.grad.contiguous(),
        "dresidual": residual.grad if case.residual else torch.zeros(()),
        "dweight": layer.weight.grad,
        "dbias": layer.bias.grad,
        "running_mean": layer.running_mean.clone(),
        "running_var": layer.running_var.clone(),
    }

"""Layers that synchronize over processes: a right one, and one for each fault."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.distributed.nn import functional as collectives

__all__ = [
    "EqualWeights",
    "GradientOfOneRank",
    "HangsWhereEmpty",
    "MaskNotInVariance",
    "MaskSwitchesOff",
    "RaisesWhereEmpty",
    "Right",
    "RunningOfOneRank",
    "WithinRanks",
]


def total(*values: Tensor) -> list[Tensor]:
    """Add up values over all ranks, with a gradient."""
    added: Tensor = collectives.all_reduce(torch.cat([value.reshape(-1) for value in values]))
    parts = added.split([value.numel() for value in values])
    return [part.reshape(value.shape) for part, value in zip(parts, values, strict=True)]


class Right(nn.Module):
    """Batch normalization over all ranks, with masks of shape (N, *S)."""

    def __init__(self, num_features: int, eps: float = 1e-5, momentum: float = 0.1) -> None:
        super().__init__()
        self.eps, self.momentum = eps, momentum
        self.weight = nn.Parameter(torch.ones(num_features))
        self.bias = nn.Parameter(torch.zeros(num_features))
        self.register_buffer("running_mean", torch.zeros(num_features))
        self.register_buffer("running_var", torch.ones(num_features))
        self.running_mean: Tensor
        self.running_var: Tensor

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return y, which is 0 where the mask is False."""
        rows = x.transpose(0, 1).flatten(1)
        keep = rows.new_ones(rows.shape[1]) if mask is None else mask.reshape(-1).to(rows)
        mean, var, n = self.statistics(rows, keep, masked=mask is not None)
        if self.training:
            self.move(rows, keep, (mean, var, n))
        else:
            mean, var = self.running_mean, self.running_var
        y = (rows - mean[:, None]) * (var + self.eps).rsqrt()[:, None]
        y = (y * self.weight[:, None] + self.bias[:, None]) * keep
        return y.reshape(x.shape[1], len(x), *x.shape[2:]).transpose(0, 1)

    def statistics(self, rows: Tensor, keep: Tensor, *, masked: bool) -> tuple[Tensor, ...]:
        """Return mean, variance and count."""
        del masked
        n, sums = total(keep.sum(), (rows * keep).sum(1))
        mean = sums / n
        (squares,) = total(((rows - mean[:, None]) ** 2 * keep).sum(1))
        return mean, squares / n, n

    def move(self, rows: Tensor, keep: Tensor, found: tuple[Tensor, ...]) -> None:
        """Move the running statistics."""
        del rows, keep
        mean, var, n = (value.detach() for value in found)
        self.running_mean.lerp_(mean, self.momentum)
        self.running_var.lerp_(var * n / (n - 1), self.momentum)


def alone(rows: Tensor, keep: Tensor) -> tuple[Tensor, ...]:
    """Return mean, variance and count of this rank."""
    n = keep.sum()
    mean = (rows * keep).sum(1) / n
    return mean, ((rows - mean[:, None]) ** 2 * keep).sum(1) / n, n


class EqualWeights(Right):
    """Means of x and of its squares are averaged over ranks."""

    def statistics(self, rows: Tensor, keep: Tensor, *, masked: bool) -> tuple[Tensor, ...]:
        """Return mean, variance and count."""
        del masked
        own, var, n = alone(rows, keep)
        mean, squares = (value / distributed.get_world_size() for value in total(own, var + own**2))
        return mean, squares - mean**2, total(n)[0]


class WithinRanks(Right):
    """The variance is that within the ranks."""

    def statistics(self, rows: Tensor, keep: Tensor, *, masked: bool) -> tuple[Tensor, ...]:
        """Return mean, variance and count."""
        del masked
        own, var, own_n = alone(rows, keep)
        n, sums, squares = total(own_n, own * own_n, var * own_n)
        return sums / n, squares / n, n


class MaskNotInVariance(Right):
    """What is masked is 0 in the squared deviations: each adds the square of the mean."""

    def statistics(self, rows: Tensor, keep: Tensor, *, masked: bool) -> tuple[Tensor, ...]:
        """Return mean, variance and count."""
        del masked
        n, sums = total(keep.sum(), (rows * keep).sum(1))
        mean = sums / n
        (squares,) = total(((rows * keep - mean[:, None]) ** 2).sum(1))
        return mean, squares / n, n


class MaskSwitchesOff(Right):
    """The branch for masks has no collective."""

    def statistics(self, rows: Tensor, keep: Tensor, *, masked: bool) -> tuple[Tensor, ...]:
        """Return mean, variance and count."""
        return alone(rows, keep) if masked else super().statistics(rows, keep, masked=False)


class RunningOfOneRank(Right):
    """Running statistics are those of the rank's own values."""

    def move(self, rows: Tensor, keep: Tensor, found: tuple[Tensor, ...]) -> None:
        """Move the running statistics."""
        del found
        super().move(rows, keep, alone(rows, keep))


class HangsWhereEmpty(Right):
    """A rank without values returns at once, and leaves the others in their collective."""

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return y."""
        return x * 1.0 if not len(x) else super().forward(x, mask)


class RaisesWhereEmpty(Right):
    """All ranks raise where one has no values."""

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return y."""
        counts: list[Any] = [None] * distributed.get_world_size()
        distributed.all_gather_object(counts, len(x))
        if not all(counts):
            message = "a rank has no values"
            raise ValueError(message)
        return super().forward(x, mask)


class GradientOfOneRank(Right):
    """The sums of the other ranks are constants for the gradient."""

    def statistics(self, rows: Tensor, keep: Tensor, *, masked: bool) -> tuple[Tensor, ...]:
        """Return mean, variance and count."""
        del masked

        def added(value: Tensor) -> Tensor:
            every = value.detach().clone()
            distributed.all_reduce(every)
            return value + (every - value).detach()

        n = added(keep.sum())
        mean = added((rows * keep).sum(1)) / n
        return mean, added(((rows - mean[:, None]) ** 2 * keep).sum(1)) / n, n

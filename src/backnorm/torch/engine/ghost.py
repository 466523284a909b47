"""Ghost batch normalization: each group of some samples normalizes itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from backnorm import _check
from backnorm.errors import RangeError
from backnorm.torch.engine import tools
from backnorm.torch.engine.functional import check_extras
from backnorm.torch.engine.grouped import normalize_groups
from backnorm.torch.engine.measured import check_mask, move_running, training_options
from backnorm.torch.engine.modules import _Engine

if TYPE_CHECKING:
    from collections.abc import Sequence

    from backnorm._types import Variance
    from backnorm.torch.engine.measured import MeasuredStatistics

__all__ = ["GhostBatchNorm1d", "GhostBatchNorm2d", "GhostBatchNorm3d"]


class _Ghost(_Engine):
    """It is no subclass of torch.nn.BatchNorm2d: tools that replace those would lose the groups."""

    def __init__(
        self,
        num_features: int,
        *arguments: Any,
        virtual_batch_size: int = 32,
        variance: Variance = "total",
        **others: Any,
    ) -> None:
        super().__init__(num_features, *arguments, **others)
        size = _check.whole_number(virtual_batch_size, 1, RangeError.virtual_batch_size)
        _check.name_of("variance", variance, _check.VARIANCES)
        self.virtual_batch_size = size
        self.variance: Variance = variance

    def forward(
        self,
        input: torch.Tensor,  # noqa: A002 - the name in torch.nn
        residual: torch.Tensor | None = None,
        mask: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Return y of what counts, with the residual added."""
        if not self.training or tools.is_traced(input):
            return self._normalize(input, residual=residual, mask=mask)
        self._check_input_dim(input)
        if mask is not None:
            check_mask(mask, input)
        sizes = group_sizes(input.shape[0], self.virtual_batch_size)
        if len(sizes) == 1:
            return self._normalize(input, residual=residual, mask=mask)
        if residual is not None:
            check_extras(input, "identity", 0.01, residual, self.through, inplace=False)
        return self._in_groups(input, residual, mask, sizes)

    def _in_groups(
        self,
        x: torch.Tensor,
        residual: torch.Tensor | None,
        mask: torch.Tensor | None,
        sizes: list[int],
    ) -> torch.Tensor:
        options = training_options(self.eps, self.through, self.sums)
        y, groups = normalize_groups(x, sizes, self.weight, self.bias, options, residual, mask)
        if self.track_running_stats:
            with torch.no_grad():
                mean, var, n = pooled(groups, self.variance)
            move_running(self, mean, var, n, self._count(self.momentum))
        return y

    def extra_repr(self) -> str:
        """Return the arguments of the constructor."""
        groups = f"virtual_batch_size={self.virtual_batch_size}, variance={self.variance}"
        return f"{super().extra_repr()}, {groups}"


def group_sizes(n: int, size: int) -> list[int]:
    """Return how many of n samples each group has; a last one of one sample joins its neighbour."""
    sizes = [size] * (n // size)
    rest = n % size
    if rest == 1 and sizes:
        sizes[-1] += 1
    elif rest or not sizes:
        sizes.append(rest)
    return sizes


def pooled(
    groups: Sequence[MeasuredStatistics], variance: Variance
) -> tuple[torch.Tensor, torch.Tensor, int | torch.Tensor]:
    """Return the mean of all groups, their unbiased variance and number of values.

    The order of the groups does not count, and neither does a group that is masked as a whole.
    """
    means, variances = (torch.stack([getattr(g, name) for g in groups]) for name in ("mean", "var"))
    counts = torch.stack([torch.as_tensor(group.n).to(means).reshape(1) for group in groups])
    n = sum(group.n for group in groups)
    mean = _total(counts * means) / n
    squares = _total(counts * variances)
    if variance == "within":
        filled = len(groups) if isinstance(n, int) else (counts > 0).sum()
        return mean, squares / (n - filled), n
    return mean, (squares + _total(counts * (means - mean) ** 2)) / (n - 1), n


def _total(values: torch.Tensor) -> torch.Tensor:
    """Add over the groups; sorted, so that every order of them gives the same sum."""
    return values.sort(0).values.sum(0)


class GhostBatchNorm1d(_Ghost):
    """`GhostBatchNorm2d` for (N, C) or (N, C, L)."""

    _check_input_dim = nn.BatchNorm1d._check_input_dim


class GhostBatchNorm2d(_Ghost):
    """Batch normalization by groups of a batch in training, by running statistics in evaluation.

    Parameters
    ----------
    num_features, eps, momentum, affine, track_running_stats, device, dtype
        As in torch.nn.BatchNorm2d.
    virtual_batch_size
        How many samples a group has. The last group has the rest; if that is one sample, it joins
        the group before.
    variance
        Of the running variance. "total": of the batch, around its mean, as BatchNorm2d has it.
        "within": of the values around the mean of their group, by which training normalizes.
    through, sums
        As in `BatchNormAct2d`.

    Notes
    -----
    Source: Hoffer, Hubara and Soudry, Train longer, generalize better, 2017, algorithm 1. There
    each group moves the running statistics in turn, so that the last one counts most. Here a batch
    moves them once, and the order of the groups does not count.
    `forward(x, residual=None, mask=None)`: with a bool mask, see `batch_norm`, the statistics of a
    group are those of what counts of it; a group in which nothing counts is left out.
    State: that of torch.nn.BatchNorm2d. It is not a subclass of it.
    Accuracy: as `batch_norm`, for each group.
    Cost: as `batch_norm`.

    Examples
    --------
    >>> import torch
    >>> from backnorm.torch import GhostBatchNorm2d
    >>> layer = GhostBatchNorm2d(1, virtual_batch_size=2, eps=1e-12)
    >>> layer(torch.tensor([1.0, 3.0, 10.0, 30.0]).reshape(4, 1, 1, 1)).flatten().tolist()
    [-1.0, 1.0, -1.0, 1.0]
    """

    _check_input_dim = nn.BatchNorm2d._check_input_dim


class GhostBatchNorm3d(_Ghost):
    """`GhostBatchNorm2d` for (N, C, D, H, W)."""

    _check_input_dim = nn.BatchNorm3d._check_input_dim

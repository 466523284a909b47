"""One call of the engine in training that returns the statistics too."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from backnorm.results import StatisticsRow
from backnorm.torch.engine import kernels, schema, stock
from backnorm.torch.engine.functional import takes
from backnorm.torch.engine.operator import move
from backnorm.torch.engine.tools import is_exported

if TYPE_CHECKING:
    from backnorm._types import SumLaw, Through
    from backnorm.torch.engine.schema import Maybe

__all__ = [
    "MeasuredStatistics",
    "move_running",
    "normalize_measured",
    "statistics_of",
    "training_options",
]


class MeasuredStatistics(NamedTuple):
    """Mean and variance of the values of a call; constants to autograd.

    Attributes
    ----------
    mean, var
        Shape (C,), float64 if the engine computed them; the variance is biased. [x], [x]^2
    n
        How many values each channel has.
    """

    mean: torch.Tensor
    var: torch.Tensor
    n: int


def training_options(eps: float, through: Through, sums: SumLaw) -> kernels.CallOptions:
    """Return the options of a call in training, without an activation."""
    return kernels.CallOptions(True, 0.0, eps, "identity", 0.01, through, sums)


def normalize_measured(
    x: torch.Tensor, weight: Maybe, bias: Maybe, options: kernels.CallOptions
) -> tuple[torch.Tensor, MeasuredStatistics]:
    """Normalize x by its statistics; return y and them. No running statistics change."""
    known = kernels.available() and options.eps > 0.0 and not is_exported()
    if known and takes(x, (weight, bias, None, None), training=True):
        y, rows = schema.FORWARD(
            x, weight, bias, None, None, None, *schema.in_schema_order(options)
        )
        return y, statistics_of(x, rows.detach())
    y = stock.batch_norm(x, weight, bias, None, None, None, options)
    wide = x.detach() if x.dtype == torch.float64 else x.detach().float()
    axes = [axis for axis in range(x.dim()) if axis != 1]
    var, mean = torch.var_mean(wide, axes, correction=0)
    return y, MeasuredStatistics(mean, var, x.numel() // x.shape[1])


def statistics_of(x: torch.Tensor, rows: torch.Tensor) -> MeasuredStatistics:
    """Return the statistics of x that a kernel has returned as rows."""
    mean = rows[StatisticsRow.MEAN] + rows[StatisticsRow.MEAN_LOW]
    return MeasuredStatistics(mean, rows[StatisticsRow.VAR], x.numel() // x.shape[1])


def move_running(
    layer: Any, mean: torch.Tensor, unbiased_var: torch.Tensor, momentum: float | None
) -> None:
    """Move the running statistics of a layer towards those of a batch; not without a weight."""
    if momentum is not None:
        move(layer.running_mean, mean, momentum)
        move(layer.running_var, unbiased_var, momentum)

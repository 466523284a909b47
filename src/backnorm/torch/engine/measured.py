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

__all__ = ["MeasuredCall", "move_running", "normalize_measured", "training_options"]


class MeasuredCall(NamedTuple):
    """What a call in training computed.

    Attributes
    ----------
    y
        The output.
    mean, var
        Those of the batch, shape (C,), float64 if the engine computed it; the variance is biased.
        They are constants. [x], [x]^2
    n
        How many values each channel has.
    """

    y: torch.Tensor
    mean: torch.Tensor
    var: torch.Tensor
    n: int


def training_options(eps: float, through: Through, sums: SumLaw) -> kernels.CallOptions:
    """Return the options of a call in training, without an activation."""
    return kernels.CallOptions(True, 0.0, eps, "identity", 0.01, through, sums)


def normalize_measured(
    x: torch.Tensor, weight: Maybe, bias: Maybe, options: kernels.CallOptions
) -> MeasuredCall:
    """Normalize x by its statistics, and return them; no running statistics change."""
    n = x.numel() // x.shape[1]
    known = kernels.available() and options.eps > 0.0 and not is_exported()
    if known and takes(x, (weight, bias, None, None), training=True):
        y, statistics = schema.FORWARD(
            x, weight, bias, None, None, None, *schema.in_schema_order(options)
        )
        statistics = statistics.detach()
        mean = statistics[StatisticsRow.MEAN] + statistics[StatisticsRow.MEAN_LOW]
        return MeasuredCall(y, mean, statistics[StatisticsRow.VAR], n)
    y = stock.batch_norm(x, weight, bias, None, None, None, options)
    wide = x.detach() if x.dtype == torch.float64 else x.detach().float()
    axes = [axis for axis in range(x.dim()) if axis != 1]
    var, mean = torch.var_mean(wide, axes, correction=0)
    return MeasuredCall(y, mean, var, n)


def move_running(
    layer: Any, mean: torch.Tensor, unbiased_var: torch.Tensor, momentum: float | None
) -> None:
    """Move the running statistics of a layer towards those of a batch; not without a weight."""
    if momentum is not None:
        move(layer.running_mean, mean, momentum)
        move(layer.running_var, unbiased_var, momentum)

"""One call of the engine in training that returns the statistics too."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from backnorm.errors import DtypeError
from backnorm.results import StatisticsRow
from backnorm.torch.engine import kernels, masked, masked_call, schema, stock
from backnorm.torch.engine.functional import takes
from backnorm.torch.engine.operator import move
from backnorm.torch.engine.tools import is_exported

if TYPE_CHECKING:
    from backnorm._types import SumLaw, Through
    from backnorm.torch.engine.schema import Maybe

__all__ = [
    "MeasuredStatistics",
    "check_mask",
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
        How many values each channel has; a tensor of float64 without an axis with a mask.
    """

    mean: torch.Tensor
    var: torch.Tensor
    n: int | torch.Tensor

    @property
    def unbiased_var(self) -> torch.Tensor:
        """The variance over n - 1."""
        return self.var * (self.n / (self.n - 1))


def training_options(eps: float, through: Through, sums: SumLaw) -> kernels.CallOptions:
    """Return the options of a call in training, without an activation."""
    return kernels.CallOptions(True, 0.0, eps, "identity", 0.01, through, sums)


def normalize_measured(
    x: torch.Tensor,
    weight: Maybe,
    bias: Maybe,
    options: kernels.CallOptions,
    residual: Maybe = None,
    mask: Maybe = None,
) -> tuple[torch.Tensor, MeasuredStatistics]:
    """Normalize x by its statistics; return y and them. No running statistics change.

    The mask is bool.
    """
    fits = kernels.available() and options.eps > 0.0 and not is_exported()
    fits = fits and takes(x, (weight, bias, None, None), training=True)
    parameters = (weight, bias, None, None)
    if mask is not None:
        y, rows = masked_call.normalize(x, mask, *parameters, residual, options, fits=fits)
        mean, low, var = rows.detach()[:3]
        return y, MeasuredStatistics(mean + low, var, mask.sum(dtype=torch.float64))
    if fits:
        y, rows = schema.FORWARD(x, *parameters, residual, *schema.in_schema_order(options))
        return y, statistics_of(x, rows.detach())
    y = stock.batch_norm(x, *parameters, residual, options)
    wide = x.detach() if x.dtype == torch.float64 else x.detach().float()
    axes = [axis for axis in range(x.dim()) if axis != 1]
    var, mean = torch.var_mean(wide, axes, correction=0)
    return y, MeasuredStatistics(mean, var, x.numel() // x.shape[1])


def statistics_of(x: torch.Tensor, rows: torch.Tensor) -> MeasuredStatistics:
    """Return the statistics of x that a kernel has returned as rows."""
    mean = rows[StatisticsRow.MEAN] + rows[StatisticsRow.MEAN_LOW]
    return MeasuredStatistics(mean, rows[StatisticsRow.VAR], x.numel() // x.shape[1])


def move_running(
    layer: Any,
    mean: torch.Tensor,
    unbiased_var: torch.Tensor,
    n: int | torch.Tensor,
    momentum: float | None,
) -> None:
    """Move the running statistics of a layer towards those of a batch.

    Not without a momentum, and not where a mask lets no value count.
    """
    if momentum is None:
        return
    counted = None
    if isinstance(n, torch.Tensor):
        counted = (n > 0).to(unbiased_var.dtype)
        mean, unbiased_var = (torch.where(n > 0, row, 0.0) for row in (mean, unbiased_var))
    move(layer.running_mean, mean, momentum, counted)
    move(layer.running_var, unbiased_var, momentum, counted)


def check_mask(mask: object, x: torch.Tensor) -> None:
    """Raise an error unless a mask is bool and has the shape of x without its channels."""
    if masked.check(mask, x).dtype != torch.bool:
        raise DtypeError.not_a_mask(mask.dtype)  # type: ignore[attr-defined] # it is a tensor

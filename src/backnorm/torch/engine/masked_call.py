"""Masked calls that PyTorch records or transforms, and all calls with weights."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from backnorm.results import StatisticsRow
from backnorm.torch.engine import (
    masked,
    masked_derivatives,  # noqa: F401 - it registers
    masked_schema,
    operator,
    schema,
    stock,
    weighted,
)
from backnorm.torch.engine.autograd import only_runs
from backnorm.torch.engine.backends import result_format

if TYPE_CHECKING:
    from backnorm.torch.engine.kernels import CallOptions
    from backnorm.torch.engine.schema import Maybe

__all__ = ["batch_norm", "normalize"]


def batch_norm(
    x: torch.Tensor,
    mask: torch.Tensor,
    weight: Maybe,
    bias: Maybe,
    running_mean: Maybe,
    running_var: Maybe,
    residual: Maybe,
    options: CallOptions,
    *,
    fits: bool,
) -> torch.Tensor:
    """Return y, by the operator if the engine computes this; move running statistics."""
    tensors = (x, mask, weight, bias, running_mean, running_var, residual)
    y, statistics = normalize(*tensors, options, fits=fits)
    if options.training and running_mean is not None and running_var is not None:
        mean, counted = statistics[StatisticsRow.MEAN], statistics[masked_schema.COUNTED_ROW]
        unbiased = statistics[masked_schema.UNBIASED_ROW]
        operator.move(running_mean, mean, options.momentum, counted)
        operator.move(running_var, unbiased, options.momentum, counted)
    return y


def normalize(
    x: torch.Tensor,
    mask: torch.Tensor,
    weight: Maybe,
    bias: Maybe,
    running_mean: Maybe,
    running_var: Maybe,
    residual: Maybe,
    options: CallOptions,
    *,
    fits: bool,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return y and the rows of statistics of `masked_schema`."""
    tensors = (x, mask, weight, bias, running_mean, running_var, residual)
    if fits:
        found: tuple[torch.Tensor, torch.Tensor] = masked_schema.FORWARD(
            *tensors, *schema.in_schema_order(options)
        )
        return found
    return _by_formulas(*tensors, options)


def _by_formulas(
    x: torch.Tensor,
    mask: torch.Tensor,
    weight: Maybe,
    bias: Maybe,
    running_mean: Maybe,
    running_var: Maybe,
    residual: Maybe,
    options: CallOptions,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return y and the statistics by PyTorch's operations alone, which it differentiates."""
    if only_runs():
        # What counts goes to PyTorch's kernel first, so that wrong input raises its errors.
        counts, _ = masked_schema.weights_of(mask, options)
        running = (running_mean, running_var)
        if options.training:
            running = (None, None)
        with torch.no_grad():
            stock.batch_norm(masked.gather(x, counts), weight, bias, *running, None, options)
    frozen = None
    if not options.training and running_mean is not None and running_var is not None:
        wide = running_var.double()
        frozen = torch.stack(
            [
                running_mean.double(),
                torch.zeros_like(wide),
                wide,
                (wide + options.eps).rsqrt(),
            ]
        )
    k = weighted.WeightedChannels.of(x, mask, weight, frozen, options, detached=True)
    y = k.normalize(bias, residual, mask, options).to(x.dtype)
    y = y.contiguous(memory_format=result_format(x))
    with torch.no_grad():
        var = k.var.flatten()
        counted = (k.shares.sum() > 0).to(var.dtype).expand_as(var)
        unbiased = torch.where(counted > 0, var * weighted.unbiased(k.shares), var)
        rows = [k.mean.flatten(), torch.zeros_like(var), var, k.inv_std.flatten()]
        return y, torch.stack([*rows, unbiased, counted]).detach()

"""The same semantics by PyTorch's kernels: for other devices and dtypes, and for wrong input.

Wrong input comes here so that PyTorch raises its usual errors.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.nn import functional

from backnorm.torch.engine import memory
from backnorm.torch.engine.activations import ACTIVATIONS
from backnorm.torch.engine.formula import average, per_channel

if TYPE_CHECKING:
    from backnorm.torch.engine.kernels import CallOptions

__all__ = ["batch_norm"]


def batch_norm(
    x: torch.Tensor,
    weight: torch.Tensor | None,
    bias: torch.Tensor | None,
    running_mean: torch.Tensor | None,
    running_var: torch.Tensor | None,
    residual: torch.Tensor | None,
    options: CallOptions,
) -> torch.Tensor:
    """Return y; update running statistics when training."""
    memory.check({"residual": residual})
    z = functional.batch_norm(
        x,
        running_mean,
        running_var,
        weight,
        bias,
        options.training,
        options.momentum,
        options.eps,
    )
    if options.training and options.through != "both":
        z = _cut(x, weight, bias, options)
    if residual is not None:
        z = z + residual
    return ACTIVATIONS[options.activation].apply(z, options.negative_slope)


def _cut(
    x: torch.Tensor, weight: torch.Tensor | None, bias: torch.Tensor | None, options: CallOptions
) -> torch.Tensor:
    """Normalize with detached statistics where the gradient must not go through them."""
    wide = x if x.dtype == torch.float64 else x.float()
    mean = average(wide)
    var = average((wide - mean.detach()) ** 2)
    if options.through in ("none", "variance"):
        mean = mean.detach()
    if options.through in ("none", "mean"):
        var = var.detach()
    z = (wide - mean) * (var + options.eps).rsqrt()
    if weight is not None:
        z = z * per_channel(weight, x)
    if bias is not None:
        z = z + per_channel(bias, x)
    return z.to(x.dtype)

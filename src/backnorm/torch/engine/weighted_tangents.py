"""Forward mode where positions have weights, in tensor operations and in float64.

Plain formulas, and no transform of torch.func: these cannot begin inside the rule of another one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch

from backnorm.torch.engine.formula import (
    Steps,
    grad_through_activation,
    per_channel,
    total,
)
from backnorm.torch.engine.weighted import (
    WeightedChannels,
    WeightedParts,
    chosen,
    over,
    where_counted,
    where_weighted,
)

if TYPE_CHECKING:
    from backnorm.torch.engine.kernels import CallOptions

__all__ = ["WeightedTangents", "gradients_tangent", "output_tangent"]


class WeightedTangents(NamedTuple):
    """Steps of the tensors of a layer, of the weights, and of dy; None stands for 0."""

    tensors: Steps
    mask: torch.Tensor | None = None
    dy: torch.Tensor | None = None


class _Moved(NamedTuple):
    """Steps of x_hat, of inv_std as a part of it, and of the shares."""

    x_hat: torch.Tensor
    inv_std: torch.Tensor
    shares: torch.Tensor
    total: torch.Tensor


def _moved(steps: WeightedTangents, k: WeightedChannels, mask: torch.Tensor) -> _Moved:
    of_x = torch.zeros_like(k.x_hat)
    if steps.tensors.x is not None:
        of_x = k.inv_std * chosen(steps.tensors.x, mask)
    by_share = torch.zeros_like(k.shares)
    if steps.mask is not None:
        counted = where_weighted(steps.mask, mask).to(k.shares.dtype)
        by_share = (counted / k.sum_of_weights).unsqueeze(1)
    growth = by_share.sum()
    nothing = torch.zeros_like(k.inv_std)
    if not k.training:
        return _Moved(of_x, nothing, by_share - k.shares * growth, growth)
    weighted = k.shares * of_x
    mean_step = over(weighted) + over(by_share * k.x_hat)
    shrink = over(weighted * k.x_hat) + over(by_share * k.curve) / 2
    x_hat = of_x - mean_step - k.x_hat * shrink
    return _Moved(x_hat, -shrink, by_share - k.shares * growth, growth)


def output_tangent(
    steps: WeightedTangents,
    k: WeightedChannels,
    mask: torch.Tensor,
    y: torch.Tensor | None,
    options: CallOptions,
) -> torch.Tensor:
    """Return the step of y."""
    tensors = steps.tensors
    z_step = _moved(steps, k, mask).x_hat * k.gamma
    if tensors.weight is not None:
        z_step = z_step + k.x_hat * per_channel(tensors.weight.to(z_step.dtype), z_step)
    if tensors.bias is not None:
        z_step = z_step + per_channel(tensors.bias.to(z_step.dtype), z_step)
    if tensors.residual is not None:
        z_step = z_step + chosen(tensors.residual, mask)
    return grad_through_activation(where_counted(z_step, mask), y, options)


def gradients_tangent(
    steps: WeightedTangents,
    dy: torch.Tensor,
    k: WeightedChannels,
    mask: torch.Tensor,
    y: torch.Tensor | None,
    options: CallOptions,
) -> WeightedParts:
    """Return the steps of all gradients: each product of `weighted.gradients` by the product rule.

    inv_std is a factor of dx; its step is relative.
    """
    moved, h, p = _moved(steps, k, mask), k.x_hat, k.shares
    dz = grad_through_activation(chosen(dy, mask), y, options)
    dz_step = torch.zeros_like(dz)
    if steps.dy is not None:
        dz_step = grad_through_activation(chosen(steps.dy, mask), y, options)
    gamma_step = torch.zeros_like(k.gamma)
    if steps.tensors.weight is not None:
        gamma_step = per_channel(steps.tensors.weight.to(dz.dtype), dz)
    scale_step = (gamma_step + k.gamma * moved.inv_std) * k.inv_std
    along, along_h = over(dz), over(dz * h)
    along_step, along_h_step = over(dz_step), over(dz_step * h + dz * moved.x_hat)
    d, d_step = dz, dz_step
    of_mask = torch.zeros_like(mask, dtype=dz.dtype)
    if k.training:
        d = dz - p * (along + h * along_h)
        d_step = dz_step - moved.shares * (along + h * along_h)
        d_step = d_step - p * (along_step + moved.x_hat * along_h + h * along_h_step)
        by_share = -h * along - k.curve * along_h / 2
        eps_step = options.eps * k.inv_std * k.inv_std * moved.inv_std
        curve_step = 2 * (h * moved.x_hat + eps_step)
        share_step = -moved.x_hat * along - h * along_step
        share_step = share_step - (curve_step * along_h + k.curve * along_h_step) / 2
        share_step = share_step - by_share * moved.total
        of_mask = (gamma_step * by_share + k.gamma * share_step).sum(1) / k.sum_of_weights
    dx = scale_step * d + k.gamma * k.inv_std * d_step
    return WeightedParts(
        where_counted(dx, mask),
        total(dz_step * h + dz * moved.x_hat),
        total(dz_step),
        dz_step,
        where_weighted(of_mask, mask),
    )

"""Derivatives of the forward pass and of its gradient in plain tensor operations, in float64.

They are differentiable themselves, so that every further order is right. docs/mathematics.md
derives them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from backnorm.results import Row
from backnorm.torch.engine.activations import ACTIVATIONS

if TYPE_CHECKING:
    from backnorm.torch.engine.kernels import Options

__all__ = ["Channels", "Steps", "gradient_tangent", "second", "tangent"]


@dataclass(frozen=True, slots=True, eq=False)
class Channels:
    """x normalized, in float64: x_hat has the shape of x, the others (1, C, 1, ...).

    Attributes
    ----------
    x_hat, inv_std
        As in the mathematics; functions of x when the statistics are the batch's own.
    gamma
        The weight, or ones.
    training
        Whether the statistics depend on x.
    """

    x_hat: torch.Tensor
    inv_std: torch.Tensor
    gamma: torch.Tensor
    training: bool

    @staticmethod
    def of(
        x: torch.Tensor,
        weight: torch.Tensor | None,
        statistics: torch.Tensor,
        options: Options,
    ) -> Channels:
        """Normalize x again, so that the result can be differentiated."""
        wide = x.double()
        if options.training:
            centred = wide - average(wide)
            inv_std = (average(centred * centred) + options.eps).rsqrt()
        else:
            centred = wide - per_channel(statistics[Row.MEAN], x)
            inv_std = per_channel(statistics[Row.INV_STD], x)
        gamma = torch.ones_like(inv_std) if weight is None else per_channel(weight.double(), x)
        return Channels(centred * inv_std, inv_std, gamma, options.training)

    @property
    def scale(self) -> torch.Tensor:
        """The slope of y over x, statistics held."""
        return self.gamma * self.inv_std

    def project(self, values: torch.Tensor) -> torch.Tensor:
        """Take away the paths through the statistics: what is left of values/inv_std."""
        if not self.training:
            return values
        return values - average(values) - self.x_hat * average(values * self.x_hat)


@dataclass(frozen=True, slots=True, eq=False)
class Steps:
    """Directions for the tensors, or what arrives for their gradients; None is 0."""

    x: torch.Tensor | None = None
    weight: torch.Tensor | None = None
    bias: torch.Tensor | None = None
    residual: torch.Tensor | None = None


def tangent(steps: Steps, k: Channels, y: torch.Tensor | None, options: Options) -> torch.Tensor:
    """Return how y moves when x and the parameters move."""
    moved = torch.zeros_like(k.x_hat)
    if steps.x is not None:
        moved = k.project(steps.x.double()) * k.scale
    if steps.weight is not None:
        moved = moved + k.x_hat * per_channel(steps.weight.double(), moved)
    if steps.bias is not None:
        moved = moved + per_channel(steps.bias.double(), moved)
    if steps.residual is not None:
        moved = moved + steps.residual.double()
    return grad_through_activation(moved, y, options)


def gradient_tangent(
    dy: torch.Tensor,
    dy_step: torch.Tensor | None,
    steps: Steps,
    k: Channels,
    y: torch.Tensor | None,
    options: Options,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return how dx, dweight, dbias and dresidual move when dy, x and the weight move."""
    dz = grad_through_activation(dy.double(), y, options)
    dz_step = torch.zeros_like(dz)
    if dy_step is not None:
        dz_step = grad_through_activation(dy_step.double(), y, options)
    x_step = torch.zeros_like(dz) if steps.x is None else steps.x.double()
    x_hat_step = k.inv_std * k.project(x_step)
    inner, inner_step, scale_step = k.project(dz), k.project(dz_step), torch.zeros_like(k.inv_std)
    if k.training:
        scale_step = -k.scale * k.inv_std * average(x_step * k.x_hat)
        inner_step = (
            inner_step - x_hat_step * average(dz * k.x_hat) - k.x_hat * average(dz * x_hat_step)
        )
    if steps.weight is not None:
        scale_step = scale_step + per_channel(steps.weight.double(), dz) * k.inv_std
    dx = scale_step * inner + k.scale * inner_step
    return dx, total(dz_step * k.x_hat + dz * x_hat_step), total(dz_step), dz_step


def second(
    arrives: Steps, dy: torch.Tensor, k: Channels, y: torch.Tensor | None, options: Options
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return what arrives at dy, x and the weight when `arrives` arrives at their gradients."""
    dz = grad_through_activation(dy.double(), y, options)
    u = torch.zeros_like(dz) if arrives.x is None else arrives.x.double()
    none = torch.zeros_like(k.inv_std)
    p = none if arrives.weight is None else per_channel(arrives.weight.double(), dz)
    q = none if arrives.bias is None else per_channel(arrives.bias.double(), dz)
    for_dz = k.x_hat * p + q + k.scale * k.project(u)
    if arrives.residual is not None:
        for_dz = for_dz + arrives.residual.double()
    product = summed(k.project(u) * dz)
    for_x_hat = p * dz
    if k.training:
        for_x_hat = for_x_hat - k.scale * (u * average(dz * k.x_hat) + dz * average(u * k.x_hat))
    for_x = k.project(for_x_hat)
    if k.training:
        n = dz.numel() // dz.shape[1]
        for_x = for_x - k.x_hat * (k.scale * product / n)
    for_dy = grad_through_activation(for_dz, y, options)
    return for_dy, for_x * k.inv_std, total(k.project(u) * dz * k.inv_std)


def grad_through_activation(
    values: torch.Tensor, y: torch.Tensor | None, options: Options
) -> torch.Tensor:
    """Return values times the activation's derivative, read from its output y."""
    if y is None:
        return values
    grad_through = ACTIVATIONS[options.activation].grad_through
    return grad_through(values, y, options.negative_slope)


def per_channel(values: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """Return values of shape (C,) so that they spread over x."""
    return values.reshape((1, -1) + (1,) * (x.dim() - 2))


def summed(values: torch.Tensor) -> torch.Tensor:
    """Return the sum of each channel, spreading over the values."""
    return values.sum(_reduced(values), keepdim=True)


def average(values: torch.Tensor) -> torch.Tensor:
    """Return the mean of each channel, spreading over the values."""
    return values.mean(_reduced(values), keepdim=True)


def total(values: torch.Tensor) -> torch.Tensor:
    """Return the sum of each channel, shape (C,)."""
    return values.sum(_reduced(values))


def _reduced(values: torch.Tensor) -> list[int]:
    return [axis for axis in range(values.dim()) if axis != 1]

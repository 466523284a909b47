"""Derivatives of the forward pass and of its gradient, in tensor operations and in float64.

PyTorch can differentiate these formulas again, so derivatives of every further order are right.
docs/mathematics.md derives them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import torch

from backnorm.results import StatisticsRow
from backnorm.torch.engine import memory
from backnorm.torch.engine.activations import ACTIVATIONS

if TYPE_CHECKING:
    from backnorm._types import Activation
    from backnorm.torch.engine.kernels import CallOptions

__all__ = ["Channels", "Steps", "gradient_tangent", "second", "tangent"]


class Acting(Protocol):
    """Options that name an activation."""

    @property
    def activation(self) -> Activation: ...
    @property
    def negative_slope(self) -> float: ...


@dataclass(frozen=True, slots=True, eq=False)
class Channels:
    """x normalized, in float64: x_hat has the shape of x, the others (1, C, 1, ...).

    Attributes
    ----------
    x_hat, inv_std
        As in docs/mathematics.md; functions of x when the statistics are those of the batch.
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
        options: CallOptions,
    ) -> Channels:
        """Normalize x again, so that the result can be differentiated."""
        wide = x.double()
        # The saved statistics are constants to autograd. In training they are functions of x, so
        # they are computed from x again: only then does a further derivative go through them.
        if options.training:
            centred = wide - average(wide)
            inv_std = (average(centred * centred) + options.eps).rsqrt()
        else:
            centred = wide - per_channel(statistics[StatisticsRow.MEAN], x)
            inv_std = per_channel(statistics[StatisticsRow.INV_STD], x)
        gamma = torch.ones_like(inv_std) if weight is None else per_channel(weight.double(), x)
        return Channels(centred * inv_std, inv_std, gamma, options.training)

    @property
    def scale(self) -> torch.Tensor:
        """The slope of y over x with the statistics held constant."""
        return self.gamma * self.inv_std

    def project(self, values: torch.Tensor) -> torch.Tensor:
        """Subtract the paths through the mean and the variance: Eq. (12) without its factor.

        The map is symmetric, so that forward mode and the gradient share it.
        """
        if not self.training:
            return values
        return values - average(values) - self.x_hat * average(values * self.x_hat)


@dataclass(frozen=True, slots=True, eq=False)
class Steps:
    """Steps of the tensors in forward mode, or gradients of their gradients; None stands for 0."""

    x: torch.Tensor | None = None
    weight: torch.Tensor | None = None
    bias: torch.Tensor | None = None
    residual: torch.Tensor | None = None

    def check(self, name: str) -> None:
        """Raise StorageError if the storage of one was freed; `name` is a format of its name."""
        steps = (self.x, self.weight, self.bias, self.residual)
        named = zip(("input", "weight", "bias", "residual"), steps, strict=True)
        memory.check({name.format(of): step for of, step in named})


def tangent(
    steps: Steps, k: Channels, y: torch.Tensor | None, options: CallOptions
) -> torch.Tensor:
    """Return the step of y for steps of x, the parameters and the residual."""
    z_step = torch.zeros_like(k.x_hat)
    if steps.x is not None:
        z_step = k.project(steps.x.double()) * k.scale
    if steps.weight is not None:
        z_step = z_step + k.x_hat * per_channel(steps.weight.double(), z_step)
    if steps.bias is not None:
        z_step = z_step + per_channel(steps.bias.double(), z_step)
    if steps.residual is not None:
        z_step = z_step + steps.residual.double()
    return grad_through_activation(z_step, y, options)


def gradient_tangent(
    dy: torch.Tensor,
    dy_step: torch.Tensor | None,
    steps: Steps,
    k: Channels,
    y: torch.Tensor | None,
    options: CallOptions,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return the steps of dx, dweight, dbias and dresidual for steps of dy, x and the weight.

    dx = scale * project(dz), with scale = weight*inv_std, so its step has two terms: the step of
    scale times the projection, and scale times the step of the projection.
    """
    dz = grad_through_activation(dy.double(), y, options)
    dz_step = torch.zeros_like(dz)
    if dy_step is not None:
        dz_step = grad_through_activation(dy_step.double(), y, options)
    x_step = torch.zeros_like(dz) if steps.x is None else steps.x.double()
    x_hat_step = k.inv_std * k.project(x_step)
    inner, inner_step, scale_step = k.project(dz), k.project(dz_step), torch.zeros_like(k.inv_std)
    if k.training:
        # inv_std falls as the variance grows: its step is -inv_std^2 * mean(x_step*x_hat). And
        # project() itself depends on x_hat.
        scale_step = -k.scale * k.inv_std * average(x_step * k.x_hat)
        inner_step = (
            inner_step - x_hat_step * average(dz * k.x_hat) - k.x_hat * average(dz * x_hat_step)
        )
    if steps.weight is not None:
        scale_step = scale_step + per_channel(steps.weight.double(), dz) * k.inv_std
    dx = scale_step * inner + k.scale * inner_step
    return dx, total(dz_step * k.x_hat + dz * x_hat_step), total(dz_step), dz_step


def second(
    outer: Steps, dy: torch.Tensor, k: Channels, y: torch.Tensor | None, options: CallOptions
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return the gradients of dy, x and the weight, given those of their gradients in `outer`."""
    # Letters and equations as in docs/mathematics.md: F = sum(u*dx) + a*dweight + b*dbias is the
    # loss of the second backward pass.
    dz = grad_through_activation(dy.double(), y, options)
    u = torch.zeros_like(dz) if outer.x is None else outer.x.double()
    for_dy = tangent(outer, k, y, options)  # Eq. (24): forward mode in the direction (u, a, b)
    # Eq. (25): of the three gradients only dx holds the weight, as a factor.
    dx_terms = k.project(u) * dz
    for_weight = total(dx_terms * k.inv_std)
    # Eq. (26): x acts through x_hat, whose gradient w goes back as dz does in dx, and through
    # inv_std. Constant statistics leave the first term of w alone, Eq. (27).
    w = torch.zeros_like(dz)
    if outer.weight is not None:
        w = per_channel(outer.weight.double(), dz) * dz
    if not k.training:
        return for_dy, w * k.inv_std, for_weight
    w = w - k.scale * (u * average(dz * k.x_hat) + dz * average(u * k.x_hat))
    for_x = k.project(w) - k.x_hat * (k.scale * average(dx_terms))
    return for_dy, for_x * k.inv_std, for_weight


def grad_through_activation(
    values: torch.Tensor, y: torch.Tensor | None, options: Acting
) -> torch.Tensor:
    """Return values times the activation's derivative, read from its output y."""
    if y is None:
        return values
    grad_through = ACTIVATIONS[options.activation].grad_through
    return grad_through(values, y, options.negative_slope)


def per_channel(values: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """Return values of shape (C,) in a shape that broadcasts over x."""
    return values.reshape((1, -1) + (1,) * (x.dim() - 2))


def average(values: torch.Tensor) -> torch.Tensor:
    """Return the mean of each channel, in a shape that broadcasts over the values."""
    return values.mean(_reduced(values), keepdim=True)


def total(values: torch.Tensor) -> torch.Tensor:
    """Return the sum of each channel, shape (C,)."""
    return values.sum(_reduced(values))


def _reduced(values: torch.Tensor) -> list[int]:
    return [axis for axis in range(values.dim()) if axis != 1]

"""The activations in plain tensor operations."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import torch
from torch.nn import functional

from backnorm.kernels.activations import ByActivation

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["ACTIVATIONS", "TorchActivation"]


class TorchActivation(NamedTuple):
    """An activation where the kernels do not compute it.

    Attributes
    ----------
    apply
        y of z and negative_slope.
    grad_through
        The gradient with respect to z, of the gradient with respect to y, of y and negative_slope;
        differentiable itself. Where the derivative is 0 the result is 0, also for an infinite
        gradient: it is selected, not multiplied.
    """

    apply: Callable[[torch.Tensor, float], torch.Tensor]
    grad_through: Callable[[torch.Tensor, torch.Tensor, float], torch.Tensor]


def _where(condition: torch.Tensor, dy: torch.Tensor) -> torch.Tensor:
    return torch.where(condition, dy, torch.zeros_like(dy))


ACTIVATIONS: Final = ByActivation(
    {
        "identity": TorchActivation(lambda z, _: z, lambda dy, _y, _: dy),
        "relu": TorchActivation(
            lambda z, _: functional.relu(z), lambda dy, y, _: _where(~(y <= 0), dy)
        ),
        "relu6": TorchActivation(
            lambda z, _: functional.relu6(z),
            lambda dy, y, _: _where((y > 0) & (y < 6), dy),  # noqa: PLR2004 - the 6 of its name
        ),
        "leaky_relu": TorchActivation(
            functional.leaky_relu, lambda dy, y, slope: torch.where(y > 0, dy, dy * slope)
        ),
    }
)

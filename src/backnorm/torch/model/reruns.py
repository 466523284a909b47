"""A call of a layer made again. What is raised here comes from the layer, or from its model."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import torch

from backnorm.host.runners import first_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from backnorm.torch.model.calls import LayerCall

__all__ = ["called", "differentiate", "replay"]


def replay(call: LayerCall, x: torch.Tensor) -> torch.Tensor | None:
    """Return y of the same call on another x, from the same state of the layer."""
    call.before.restore()
    call.layer.inner.training = call.training
    with torch.set_grad_enabled(call.recorded):
        x_here = x.detach().clone().requires_grad_().clone()  # hooks of the model may expect it
        y = called(call, x_here)
    return y.detach() if isinstance(y, torch.Tensor) else None


def differentiate(
    call: LayerCall, gradient_of: Callable[[torch.Tensor], torch.Tensor]
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
    """Return y, dy and dx of the same call, from the state that the layer is in.

    Parameters
    ----------
    call
        The call.
    gradient_of
        Returns dy of y.
    """
    with torch.enable_grad():
        x = call.x.clone().requires_grad_()
        y = called(call, x.clone())
        dy = gradient_of(y)
        dx = torch.autograd.grad(y, x, dy, allow_unused=True)[0] if y.requires_grad else None
    return y.detach().clone(), dy, dx


def called(call: LayerCall, x: torch.Tensor) -> Any:
    """Return the first output of the same call on another x, from the state of the layer."""
    arguments = (*call.arguments[: call.at], x, *call.arguments[call.at + 1 :])
    mixed = call.autocast is not None
    with torch.autocast(x.device.type, call.autocast) if mixed else contextlib.nullcontext():
        return first_of(call.layer.module(*arguments, **call.options))

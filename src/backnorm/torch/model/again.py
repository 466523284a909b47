"""A layer that no gradient passes is called once more, so that it can be judged all the same."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from backnorm.host.names import role_of
from backnorm.host.runners import first_of
from backnorm.torch.model.state import put_back, tensors_of, values_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import nn

    from backnorm.torch.model.calls import LayerCall

__all__ = ["again", "with_zeros_replaced"]


def again(call: LayerCall, *, flat: bool) -> LayerCall:
    """Repeat a call with a random dy, from the same state of the layer.

    Parameters
    ----------
    call
        A call on the same x.
    flat
        Whether its y does not depend on x: then gamma becomes 1 where it is 0, and beta 0. These
        values stay in the layer until another call or the end of the audit restores it.

    Returns
    -------
    LayerCall
        The same call with other y, dy and dx.
    """
    layer, generator = call.layer, torch.Generator().manual_seed(0)
    put_back(tensors_of(layer.inner), call.before)
    layer.inner.training = call.training
    if flat:
        _bring_to_life(call)
    before = values_of(tensors_of(layer.inner))
    with torch.enable_grad():
        x = call.x.clone().requires_grad_()
        arguments = (*call.arguments[: call.at], x.clone(), *call.arguments[call.at + 1 :])
        y = first_of(layer.module(*arguments, **call.options))
        dy = torch.randn(y.shape, generator=generator).to(y)
        # dy has a mean and follows x, as dy of random numbers alone hardly does.
        dy = dy + 0.5 + 0.5 * torch.nan_to_num((call.x - call.x.mean()) / call.x.std())
        dx = torch.autograd.grad(y, x, dy, allow_unused=True)[0] if y.requires_grad else None
    return replace(call, before=before, y=y.detach().clone(), dy=dy, dx=dx)


def _bring_to_life(call: LayerCall) -> None:
    parameters = call.layer.parameters
    with torch.no_grad():
        if "gamma" in parameters:
            parameters["gamma"].masked_fill_(parameters["gamma"] == 0, 1.0)
        if "beta" in parameters:
            parameters["beta"].zero_()


@contextlib.contextmanager
def with_zeros_replaced(model: nn.Module) -> Iterator[bool]:
    """Give those parameters of a model that are 0 other values, but for biases, for some time.

    Many models start with zeros in the last gamma of each block, or in a factor behind it: then no
    gradient passes the block until the first step has changed them.

    Yields
    ------
    bool
        Whether there are such parameters.
    """
    zeros: list[torch.Tensor] = [
        parameter
        for name, parameter in model.named_parameters()
        if parameter.is_floating_point()
        and parameter.numel()
        and role_of(name) != "beta"
        and not parameter.any()
    ]
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for zero in zeros:
            fan_in = max(1, zero.numel() // zero.shape[0]) if zero.dim() else 1
            size = 0.5 + torch.rand(zero.shape, generator=generator)
            sign = torch.randint(2, zero.shape, generator=generator) * 2 - 1
            zero.copy_(sign * size / fan_in**0.5)
    try:
        yield bool(zeros)
    finally:
        put_back(zeros, [torch.zeros_like(zero) for zero in zeros])

"""A layer whose gradient in the model does not show every path is called once more, to be judged.

No gradient may pass it, or the gradient may be such that a path vanishes.
"""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from backnorm.host.names import role_of
from backnorm.host.runners import first_of
from backnorm.torch.model.fit import FLAT, fit_call
from backnorm.torch.model.judge import Measured
from backnorm.torch.model.noise import random_gradient
from backnorm.torch.model.state import put_back, tensors_of, values_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import nn

    from backnorm.torch.model.calls import LayerCall
    from backnorm.torch.model.fit import CallFit

__all__ = ["measure_call", "with_zeros_replaced"]


def measure_call(call: LayerCall) -> Measured:
    """Measure a call, or a repetition with a random dy where its own dy does not show all.

    A path may vanish in the model: the gradients that a batch normalization passes on add up to 0
    in each channel, and those that a linear layer makes of them do too.
    """
    fit = fit_call(call)
    why = fit.why if fit.idle else _unseen(fit)
    if not why or (not call.recorded and not call.layer.inner.training):
        return Measured(call, call, fit)
    repeated = _again(call, flat=fit.why == FLAT)
    second = fit_call(repeated)
    if fit.right is False and second.right is not False:
        return Measured(call, call, fit)
    if second.right and second.unseen:
        second = replace(second, right=None, why=_unseen(second))
    return Measured(call, repeated, second, idle=why)


def _unseen(fit: CallFit) -> str:
    """Say which paths are too small to be measured; empty if all can be."""
    few = len(fit.unseen) == 1
    paths = f"{' and '.join(fit.unseen)} path{'' if few else 's'}"
    return f"the {paths} {'is' if few else 'are'} too small to be measured" if fit.unseen else ""


def _again(call: LayerCall, *, flat: bool) -> LayerCall:
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
    layer = call.layer
    put_back(tensors_of(layer.inner), call.before)
    layer.inner.training = call.training
    if flat:
        _bring_to_life(call)
    before = values_of(tensors_of(layer.inner))
    with torch.enable_grad():
        x = call.x.clone().requires_grad_()
        arguments = (*call.arguments[: call.at], x.clone(), *call.arguments[call.at + 1 :])
        y = first_of(layer.module(*arguments, **call.options))
        # dy has a mean and follows x, as dy of random numbers alone hardly does.
        dy = (
            random_gradient(y)
            + 0.5
            + 0.5 * torch.nan_to_num((call.x - call.x.mean()) / call.x.std())
        )
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

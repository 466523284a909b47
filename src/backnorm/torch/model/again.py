"""A layer whose gradient in the model does not show every path is called once more, to be judged.

No gradient may pass it, or the gradient may be such that a path vanishes.
"""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import torch

from backnorm.host.names import role_of
from backnorm.torch.model.fit import FLAT, NO_LINE, OTHER_STATISTICS, CallFit, fit_call
from backnorm.torch.model.judge import Measured
from backnorm.torch.model.noise import random_gradient
from backnorm.torch.model.reruns import differentiate
from backnorm.torch.model.state import put_back, take_snapshot

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from torch import nn

    from backnorm.torch.model.calls import LayerCall

__all__ = ["measure_call", "with_zeros_replaced"]

SMALL: Final = 0.1
"""Below this, a layer with constants is called again with a larger gamma."""

ROUNDINGS: Final = 64
"""How many rounding errors two computations of one gradient may differ by."""

HALF: Final = (torch.float16, torch.bfloat16)

HIDDEN: Final = "its output does not show its statistics: gamma is 0, or small beside what is added"
"""Why a layer was not judged by its own call."""


def measure_call(call: LayerCall) -> Measured:
    """Measure a call, or a repetition with a random dy where its own dy does not show all.

    A path may vanish in the model: the gradients that a batch normalization passes on add up to 0
    in each channel, and those that a linear layer makes of them do too.

    Where x gets gradient by another route than y as well, dx of y alone comes from a second call.
    """
    judged = call
    if call.dy is not None and call.shared is not False:
        alone = _alone(call)
        if call.shared or _differs(alone.dx, call.dx):
            judged, call = alone, replace(call, shared=True)
    fit = fit_call(judged)
    if fit.mode == "frozen" and (call.training or _is_small(call)):
        measured = _with_statistics_shown(call, judged, fit)
    else:
        measured = _with_all_paths(call, judged, fit)
    return _with_inputs_named(_with_precision_named(measured))


def _differs(dx: torch.Tensor | None, other: torch.Tensor | None) -> bool:
    """Whether two gradients differ by more than the rounding of their dtype."""
    if dx is None or other is None:
        return dx is not other
    size = float(other.double().norm())
    allowed = ROUNDINGS * torch.finfo(dx.dtype).eps * size
    return not float((dx.double() - other.double()).norm()) <= allowed


def _with_precision_named(measured: Measured) -> Measured:
    """Name half precision where a law or a path may be hidden by its rounding."""
    call, fit = measured.judged, measured.fit
    hidden = fit.why in (NO_LINE, OTHER_STATISTICS) or fit.unseen
    tensors = (call.x, call.y) if call.y is not None else (call.x,)
    dtypes = [call.autocast, *(tensor.dtype for tensor in tensors)]
    coarse = next((dtype for dtype in dtypes if dtype in HALF), None)
    if fit.right is not None or not hidden or coarse is None:
        return measured
    name = str(coarse).removeprefix("torch.")
    why = f"half precision ({name}) may be too coarse for it: {fit.why}"
    return replace(measured, fit=replace(fit, why=why))


def _with_inputs_named(measured: Measured) -> Measured:
    """Name the other inputs of a layer whose law was not found: a mask or classes may be in it."""
    call, fit = measured.call, measured.fit
    if fit.right is not None or fit.why not in (NO_LINE, OTHER_STATISTICS):
        return measured
    by_place = {f"argument {i}": a for i, a in enumerate(call.arguments, 1) if i != call.at + 1}
    others = [name for name, value in {**by_place, **call.options}.items() if _is_input(value)]
    if not others:
        return measured
    may = "may choose the values that are averaged, or be what y is multiplied by"
    why = f"{fit.why}; {' and '.join(others)} of its forward pass {may}"
    return replace(measured, fit=replace(fit, why=why))


def _is_input(value: object) -> bool:
    """Whether an argument is an array: numbers and flags choose no elements."""
    return isinstance(value, torch.Tensor) and value.dim() > 0


def _with_statistics_shown(call: LayerCall, judged: LayerCall, fit: CallFit) -> Measured:
    """Judge a call whose y shows no statistics of x: gamma may be too small to show them."""
    if "gamma" in call.layer.parameters:
        repeated = _again(call, _enlarge)
        second = fit_call(repeated)
        if second.mode == "batch":
            return Measured(call, repeated, second, idle=HIDDEN)
        if second.mode == "other":
            unknown = CallFit(fit.kind, fit.n, fit.mean, fit.var, why=HIDDEN)
            return Measured(call, judged, unknown)
    return _with_all_paths(call, judged, fit)


def _with_all_paths(call: LayerCall, judged: LayerCall, fit: CallFit) -> Measured:
    """Judge a call, or its repetition where not all paths can be measured."""
    why = fit.why if fit.idle else _unseen(fit)
    if not why or (not call.recorded and not call.layer.inner.training):
        return Measured(call, judged, fit)
    repeated = _again(call, _bring_to_life if fit.why == FLAT else None)
    second = fit_call(repeated)
    if fit.right is False and second.right is not False:
        return Measured(call, judged, fit)
    if second.right and second.unseen:
        second = replace(second, right=None, why=_unseen(second))
    return Measured(call, repeated, second, idle=why)


def _unseen(fit: CallFit) -> str:
    """Say which paths are too small to be measured; empty if all can be."""
    few = len(fit.unseen) == 1
    paths = f"{' and '.join(fit.unseen)} path{'' if few else 's'}"
    return f"the {paths} {'is' if few else 'are'} too small to be measured" if fit.unseen else ""


def _alone(call: LayerCall) -> LayerCall:
    """Repeat a call with its own dy, from the same state of the layer."""
    call.before.restore()
    call.layer.inner.training = call.training
    y, dy, dx = differentiate(call, lambda y: torch.as_tensor(call.dy).to(y))
    return replace(call, y=y, dy=dy, dx=dx)


def _again(call: LayerCall, change: Callable[[LayerCall], None] | None) -> LayerCall:
    """Repeat a call with a random dy, from the same state of the layer.

    Parameters
    ----------
    call
        A call on the same x.
    change
        Changes gamma and beta, or None. The values stay in the layer until another call or the end
        of the audit restores it.

    Returns
    -------
    LayerCall
        The same call with other y, dy and dx.
    """
    layer = call.layer
    call.before.restore()
    layer.inner.training = call.training
    if change is not None:
        change(call)
    before = take_snapshot(layer.inner)
    y, dy, dx = differentiate(call, lambda y: _dy_for(call, y))
    return replace(call, before=before, y=y, dy=dy, dx=dx)


def _dy_for(call: LayerCall, y: torch.Tensor) -> torch.Tensor:
    """Return a dy that has a mean and follows x, as dy of random numbers alone hardly does."""
    along = torch.nan_to_num((call.x - call.x.mean()) / call.x.std())
    return random_gradient(y) + 0.5 + 0.5 * along


def _is_small(call: LayerCall) -> bool:
    """Whether all of gamma is so small that something added to y may hide what it multiplies."""
    gamma = call.layer.parameters.get("gamma")
    return gamma is not None and bool((gamma.detach().abs() < SMALL).all())


def _enlarge(call: LayerCall) -> None:
    """Make x_hat times gamma as large as x."""
    with torch.no_grad():
        size = float(torch.nan_to_num(call.x).std())
        call.layer.parameters["gamma"].fill_(max(1.0, size))


def _bring_to_life(call: LayerCall) -> None:
    """Make gamma 1 where it is 0, and beta 0."""
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

"""The gradients of a layer's parameters in one call, compared with what y does when they change.

`backnorm.audit.measure.other_parameters` compares the same two numbers for a subject: g v and d d.
They stay two measurements, since what is known beside these numbers differs. A subject is called on
inputs of the audit in float64, by a runner that may be in another process: differences of the sixth
order leave out the elements of y with a kink, and the error may be 1e-6. A call of a model has its
own x, mostly in float32: there three passes must do for each of many parameters, the share is good
to 5e-3, and the rows of x tell the positions that are wrong.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import torch

from backnorm.audit.thresholds import COEFFICIENT_LIMIT
from backnorm.host.calls.torch_tensors import hooked
from backnorm.torch.model.reruns import called

if TYPE_CHECKING:
    from backnorm.torch.model.calls import LayerCall
    from backnorm.torch.model.fit import CallFit
    from backnorm.torch.model.layers import Layer

__all__ = ["uncompared", "wrong_gradients"]

STEP: Final = 1e-3
"""How far a parameter moves, relative to 1 and its size: y follows gamma and beta in straight
lines, and others nearly."""

ROUNDED: Final = 100.0
"""Roundings of y that its change must exceed: a bias before a normalization changes y by these."""

FINE_DTYPE: Final = 1e-3 * STEP
"""Largest eps of a dtype in which such a step is exact enough."""

ROUNDINGS: Final = 4
"""How many rounding errors of y each element of its change may have."""


def wrong_gradients(call: LayerCall, fit: CallFit) -> dict[str, str]:
    """Return what share of its derivative each parameter gets, where it is not 1.

    Parameters
    ----------
    call
        A call. The layer runs again on the same x, and afterwards is as before the call.
    fit
        Its measurements: how x is divided into rows tells which elements a value of gamma moves.

    Returns
    -------
    dict of str to str
        Roles or names, and shares in words, of those that train and whose share is not 1.

    Notes
    -----
    The parameter moves in a random direction v by small steps forward and back: the change of y
    divided by the step is d = J v. With dy = d, the gradient g of autograd must give g v = d d: in
    all, and in each position of the parameter, over the elements of y that this position moves. The
    two halves of the step tell how far y is from a straight line, or is rounded or random: so much
    may the share differ from 1.
    """
    if not call.recorded or _is_rounding(call, fit):
        return {}
    wrong: dict[str, str] = {}
    for role, parameter in _named(call.layer).items():
        if parameter.requires_grad and _is_fine(call, parameter):
            words = _wrong_share(call, parameter, fit)
            if words:
                wrong[role] = words
    call.before.restore()
    return wrong


def uncompared(call: LayerCall, fit: CallFit) -> tuple[str, ...]:
    """Return the parameters of a layer that train and whose gradient is not compared.

    Parameters
    ----------
    call
        A call of the layer.
    fit
        Its measurements.

    Returns
    -------
    tuple of str
        Their names, with the reason.
    """
    training = [(n, p) for n, p in call.layer.inner.named_parameters() if p.requires_grad]
    if not call.recorded:
        return ()
    if _is_rounding(call, fit):
        return tuple(f"{name} (x varies by its rounding alone)" for name, _ in training)
    return tuple(f"{name} (half precision)" for name, p in training if not _is_fine(call, p))


def _named(layer: Layer) -> dict[str, torch.nn.Parameter]:
    """Return the parameters of a layer by their roles, and the others by their names."""
    named = layer.parameters
    taken = {id(parameter) for parameter in named.values()}
    others = {
        name: parameter
        for name, parameter in layer.inner.named_parameters()
        if id(parameter) not in taken and parameter.is_floating_point()
    }
    return {**others, **named}


def _wrong_share(call: LayerCall, parameter: torch.Tensor, fit: CallFit) -> str:
    """Say what share of its derivative a parameter gets; empty where that is all of it."""
    move = _Move.of(call, parameter)
    has_role = any(parameter is own for own in call.layer.parameters.values())
    if move.is_rounding and not has_role:  # gamma and beta do move y, whatever else is added to it
        return ""
    (share,), (wrong,) = move.shares(torch.zeros_like(move.y, dtype=torch.int64), 1)
    if wrong:
        return f"{share:.4f} of the derivative in a second call"
    count, where = parameter.numel(), fit.where
    if where is None or count != math.prod(where.parameter_view):
        return ""
    places = torch.arange(count).reshape(where.parameter_view).expand(where.split)
    owners = places.reshape(where.shape).to(move.y.device)
    shares, off = move.shares(owners, count, _offset(fit))
    if not off.any() or not _is_separate(call, parameter, move, owners):
        return ""
    worst = int(torch.where(off, (shares - 1).abs(), 0).argmax())
    wrong_ones = f"wrong positions: {int(off.sum())} of {count}"
    return f"{shares[worst]:.4f} of the derivative at position {worst} ({wrong_ones})"


def _is_rounding(call: LayerCall, fit: CallFit) -> bool:
    """Whether no row of x varies by more than its rounding: y then follows gamma by that alone."""
    least = (ROUNDED * torch.finfo(call.x.dtype).eps * fit.mean) ** 2
    return bool(fit.var.size) and not (fit.var > least).any()


def _offset(fit: CallFit) -> float:
    varies = fit.var > 0
    return float((np.abs(fit.mean)[varies] / np.sqrt(fit.var[varies])).max(initial=0.0))


def _is_separate(
    call: LayerCall, parameter: torch.Tensor, move: _Move, owners: torch.Tensor
) -> bool:
    """Whether each position of a parameter moves its own elements of y only.

    Half of the positions move: the elements of the others must stay.
    """
    half = torch.arange(parameter.numel(), device=owners.device) % 2 == 0
    part = move.step * move.v * half.reshape(parameter.shape)
    change = _moved(call, parameter, part).detach().double() - move.y.detach().double()
    moved = half[owners]
    return float(change[~moved].norm()) <= COEFFICIENT_LIMIT * float(change[moved].norm())


def _is_fine(call: LayerCall, parameter: torch.Tensor) -> bool:
    """Whether all dtypes are fine enough for a small step: half precision would round it."""
    dtypes = {tensor.dtype for tensor in (call.x, call.y, parameter) if tensor is not None}
    dtypes |= {dtype for dtype in (call.autocast,) if dtype is not None}
    return all(torch.finfo(dtype).eps < FINE_DTYPE for dtype in dtypes)


@dataclass(frozen=True, slots=True, eq=False)
class _Move:
    """What y does when a parameter moves along v, and the gradient of the parameter.

    Attributes
    ----------
    v, step
        The direction and the length of the step.
    y, d, bend
        y, its derivative along v, and what the two halves of the step differ by.
    gradient
        The gradient times v that autograd gives with dy = d.
    """

    v: torch.Tensor
    step: float
    y: torch.Tensor
    d: torch.Tensor
    bend: torch.Tensor
    gradient: torch.Tensor

    @classmethod
    def of(cls, call: LayerCall, parameter: torch.Tensor) -> _Move:
        """Move a parameter of the layer of a call."""
        generator = torch.Generator().manual_seed(0)
        v = (torch.rand(parameter.shape, generator=generator) + 0.5).to(parameter)
        v *= torch.where(torch.rand(v.shape, generator=generator) < 0.5, -1, 1).to(v)  # noqa: PLR2004
        step = STEP * (1 + float(parameter.detach().abs().max()))
        back, ahead = (_moved(call, parameter, s * step * v).detach().double() for s in (-1, 1))
        y = _moved(call, parameter, None)
        d, bend = (ahead - back) / (2 * step), ahead + back - 2 * y.detach().double()
        gradient = None
        if y.requires_grad and bool(d.isfinite().all()):
            (gradient,) = torch.autograd.grad(y, parameter, d.to(y), allow_unused=True)
        # `grad` leaves out the hooks that run once a gradient is accumulated.
        along = torch.zeros_like(v) if gradient is None else hooked(parameter, gradient)
        return cls(v, step, y.detach(), d, bend / (2 * step), along.double() * v.double())

    @property
    def is_rounding(self) -> bool:
        """Whether y changes by its rounding alone, as by a bias before a normalization."""
        eps = torch.finfo(self.y.dtype).eps
        change = 2 * self.step * float(self.d.norm())
        return change <= ROUNDED * eps * float(self.y.double().norm())

    def shares(
        self, owners: torch.Tensor, count: int, offset: float = 0.0
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the share of the derivative at each position, and which are wrong.

        Parameters
        ----------
        owners
            Which of the positions moves each element of y, in the shape of y.
        count
            How many there are: 1 for all of the parameter as one.
        offset
            The largest mean of x in standard deviations, which its rounding grows with.

        Returns
        -------
        tuple of torch.Tensor
            Both of shape (count,).
        """
        size, bend, y = (
            _summed(values**2, owners, count).sqrt() for values in (self.d, self.bend, self.y)
        )
        along = self.gradient.sum().reshape(1) if count == 1 else self.gradient.ravel()
        follows = (size > 0) & size.isfinite() & (bend < size)  # else not at all, or not by a line
        rounding = ROUNDINGS * torch.finfo(self.y.dtype).eps / (2 * self.step)
        unsure = (bend + rounding * (y + offset * size)) / size
        shares = torch.where(follows, along / size**2, 1.0)
        return shares, follows & ((shares - 1).abs() > COEFFICIENT_LIMIT + unsure)


def _summed(values: torch.Tensor, owners: torch.Tensor, count: int) -> torch.Tensor:
    sums = torch.zeros(count, dtype=torch.float64, device=values.device)
    return sums.index_add_(0, owners.ravel(), values.double().ravel())


def _moved(call: LayerCall, parameter: torch.Tensor, by: torch.Tensor | None) -> torch.Tensor:
    """Return y of the same call with another value of a parameter, and its graph."""
    call.before.restore()
    call.layer.inner.training = call.training
    if by is not None:
        with torch.no_grad():
            parameter.add_(by)
    with torch.enable_grad(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        y: torch.Tensor = called(call, call.x.clone().requires_grad_().clone())
    return y

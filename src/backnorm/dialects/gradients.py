"""Gradients of a dialect: the engine's, and those that the engine does not have."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from backnorm import _check
from backnorm.dialects.semantics import gamma_slope
from backnorm.errors import RangeError
from backnorm.ops import batch_norm, batch_norm_backward
from backnorm.results import Gradients

if TYPE_CHECKING:
    from backnorm._types import AnyArray, Float64Array, Request
    from backnorm.dialects.columns import Row
    from backnorm.dialects.passes import Moment, Pass
    from backnorm.results import Forward

__all__ = ["Asked", "gradients"]

Asked: TypeAlias = "dict[str, Request]"
"""A request for each of dx, dgamma and dbeta."""


def gradients(layer: Moment, last: Pass, dy: AnyArray, asked: Asked, into: Gradients) -> Gradients:
    """Return the gradients of a forward pass; everything is checked before anything is written."""
    own = _own(layer, last, asked, into)
    _refuse_overlap(last.fwd, dy, into)
    fwd = last.fwd if last.kind != "frozen" else _for_frozen_gradient(layer.row, last.fwd)
    from_engine = Gradients()
    if last.kind != "identity":
        # The engine skips the gradients that are computed here. It writes dgamma all the same: the
        # gradient of a stored gamma follows from it by the chain rule.
        left_out: Asked = dict.fromkeys(own, "null")
        passed = {**asked, **left_out}
        buffers = {name: None if name in own else getattr(into, name) for name in asked}
        from_engine = batch_norm_backward(
            dy,
            fwd,
            dx=passed["dx"],
            dgamma="write" if "dgamma" in own else passed["dgamma"],
            dbeta=passed["dbeta"],
            into=Gradients(**buffers),
        )
    computed: dict[str, AnyArray | None] = {}
    for name, (buffer, owner) in own.items():
        computed[name] = None
        if asked[name] != "null":
            value = _own_value(layer, name, last, dy, fwd, from_engine)
            computed[name] = _delivered(asked[name], value, buffer, owner)
    return replace(from_engine, **computed)


def _own(
    layer: Moment, last: Pass, asked: Asked, into: Gradients
) -> dict[str, tuple[AnyArray | None, AnyArray]]:
    """Return the gradients that the engine does not compute: their buffers, and their arrays."""
    rule, stored = layer.row.gamma_rule.known, layer.stored
    owners = {"dx": last.fwd.saved.x, "dgamma": stored.gamma, "dbeta": stored.beta}
    own = {
        "dx": last.kind in {"blend", "identity"},
        "dgamma": last.kind == "identity" or layer.settings.fixed_gamma or rule != "stored",
        "dbeta": last.kind == "identity",
    }
    return {
        name: (_accepted(name, asked[name], getattr(into, name), owner), owner)
        for name, owner in owners.items()
        if own[name] and owner is not None
    }


def _refuse_overlap(fwd: Forward, dy: AnyArray, into: Gradients) -> None:
    """Raise if a buffer shares memory with an input or with another, whoever computes them.

    A buffer that is not an array is left to the check of its gradient.
    """
    buffers = {f"into.{name}": getattr(into, name) for name in ("dx", "dgamma", "dbeta")}
    arrays: dict[str, AnyArray | None] = {
        name: buffer for name, buffer in buffers.items() if isinstance(buffer, np.ndarray)
    }
    _check.no_overlap(arrays, {"dy": dy, "x": fwd.saved.x, "y": fwd.y})


def _own_value(  # noqa: PLR0917 - private
    layer: Moment, name: str, last: Pass, dy: AnyArray, fwd: Forward, from_engine: Gradients
) -> AnyArray:
    """Compute a gradient that the engine does not have."""
    if name == "dx":
        return dy if last.batch is None else _blended(dy, fwd, last.batch.mean, last.share)
    stored = layer.stored.gamma if name == "dgamma" else layer.stored.beta
    assert stored is not None  # noqa: S101 - _own leaves out a gradient without an array
    if from_engine.dgamma is None or name == "dbeta":
        return np.zeros_like(stored)  # the parameter does not take part
    value: AnyArray = from_engine.dgamma * gamma_slope(layer.row, stored)
    return value


def _for_frozen_gradient(row: Row, fwd: Forward) -> Forward:
    """Return the forward pass that the framework's gradient in eval belongs to."""
    rule = row.frozen_gradient.known
    if rule == "none":
        raise RangeError.no_frozen_gradient(row.name)
    if rule == "constants":
        return fwd
    saved = fwd.saved
    return batch_norm(
        saved.x, saved.gamma, saved.beta, channel_axis=saved.channel_axis, eps=saved.eps
    )


def _blended(dy: AnyArray, fwd: Forward, batch_mean: Float64Array, share: float) -> Float64Array:
    """Return dx where a blend of running and batch statistics normalized.

    mean = (1 - share)*running + share*batch, and so for the variance, so that with
    d = gamma*inv_std*dy: dx = d - share*(sum(d)/n + (x - batch mean)*inv_std*sum(d*x_hat)/n).
    """
    saved = fwd.saved
    axes = tuple(axis for axis in range(saved.x.ndim) if axis != saved.channel_axis)

    def over(values: Any) -> Any:
        shape = [1] * saved.x.ndim
        shape[saved.channel_axis] = -1
        return np.asarray(values, dtype=np.float64).reshape(shape)

    x, inv_std = saved.x.astype(np.float64), over(fwd.inv_std)
    d = dy.astype(np.float64) * inv_std
    if saved.gamma is not None:
        d *= over(saved.gamma)
    x_hat = (x - over(fwd.mean)) * inv_std
    along_mean = d.mean(axis=axes, keepdims=True)
    along_var = (d * x_hat).mean(axis=axes, keepdims=True)
    dx: Float64Array = d - share * (along_mean + (x - over(batch_mean)) * inv_std * along_var)
    return dx


def _accepted(
    name: str, request: Request, buffer: AnyArray | None, owner: AnyArray
) -> AnyArray | None:
    """Return the buffer of a gradient, once it fits its request and the array it belongs to."""
    _check.name_of(name, request, _check.REQUESTS)
    if buffer is None:
        if request == "add":
            raise RangeError.missing_buffer(name)
        return None
    if request == "null":
        raise RangeError.useless_buffer(name, f"{name}='null'")
    return _check.buffer(f"into.{name}", buffer, name[1:], owner)


def _delivered(
    request: Request, value: AnyArray, buffer: AnyArray | None, owner: AnyArray
) -> AnyArray | None:
    """Write or add a gradient as requested, in the dtype of the array that it belongs to."""
    if request == "null":
        return None
    if buffer is None:
        return value.astype(owner.dtype)
    buffer[...] = value + buffer if request == "add" else value
    return buffer

"""Gradients that the engine's backward pass does not give by itself, and where they are put."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from backnorm import _check
from backnorm.errors import RangeError

if TYPE_CHECKING:
    from backnorm._types import AnyArray, Float64Array, Request
    from backnorm.state import Forward

__all__ = ["accepted", "blended", "delivered"]


def blended(dy: AnyArray, fwd: Forward, batch_mean: Float64Array, share: float) -> Float64Array:
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


def accepted(
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


def delivered(
    request: Request, value: AnyArray, buffer: AnyArray | None, owner: AnyArray
) -> AnyArray | None:
    """Write or add a gradient as requested, in the format of the array that it belongs to."""
    if request == "null":
        return None
    if buffer is None:
        return value.astype(owner.dtype)
    buffer[...] = value + buffer if request == "add" else value
    return buffer

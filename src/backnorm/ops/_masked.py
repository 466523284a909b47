"""Gather the values that a mask lets count, and put results back between zeros.

The kernels know no masks. They compute the values that count, as an array of shape (count, C).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from backnorm.kernels.memory import empty_like
from backnorm.results import MaskedForward

if TYPE_CHECKING:
    from backnorm._types import AnyArray
    from backnorm.results import Forward

__all__ = ["gather", "gather_like", "masked_forward", "spread_like"]


def gather(values: AnyArray, mask: AnyArray, channel_axis: int) -> AnyArray:
    """Return the values that count, shape (count, C), in the order of the axes of values.

    NumPy would choose a layout by the strides of values. A fixed one gives fixed sums.
    """
    return np.ascontiguousarray(np.moveaxis(values, channel_axis, -1)[mask])


def gather_like(values: AnyArray | None, fwd: MaskedForward) -> AnyArray | None:
    """Return what counts of an array with the shape of x; None of None."""
    return None if values is None else gather(values, fwd.mask, fwd.saved.channel_axis)


def spread(values: AnyArray, target: AnyArray, mask: AnyArray, channel_axis: int) -> AnyArray:
    """Write values of shape (count, C) into target where they came from; return target."""
    np.moveaxis(target, channel_axis, -1)[mask] = values
    return target


def masked_forward(
    gathered: Forward, x: AnyArray, mask: AnyArray, channel_axis: int, out: AnyArray | None
) -> MaskedForward:
    """Return the result of a masked call, from the result for what counts."""
    saved = gathered.saved._replace(x=x, channel_axis=channel_axis)
    y = cleared(x, out, mask, channel_axis)
    spread(gathered.y, y, mask, channel_axis)
    return MaskedForward(y, gathered.n, saved, mask, gathered)


def cleared(x: AnyArray, buffer: AnyArray | None, mask: AnyArray, channel_axis: int) -> AnyArray:
    """Return the buffer, or a new array like x, with 0 where nothing counts."""
    array = empty_like(x) if buffer is None else buffer
    np.moveaxis(array, channel_axis, -1)[~mask] = 0
    return array


def spread_like(
    values: AnyArray, fwd: MaskedForward, buffer: AnyArray | None = None, *, add: bool = False
) -> AnyArray:
    """Return values of shape (count, C) in the buffer, or in a new array like x.

    Where nothing counts it is 0; with `add` the buffer stays as it is there.
    """
    x, axis = fwd.saved.x, fwd.saved.channel_axis
    target = buffer if add and buffer is not None else cleared(x, buffer, fwd.mask, axis)
    return spread(values, target, fwd.mask, axis)

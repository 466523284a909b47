"""Convert between the arrays of a public function and the arrays of a kernel."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from backnorm._layout import arrange
from backnorm.errors import RangeError
from backnorm.results import Forward, Saved

if TYPE_CHECKING:
    from backnorm._layout import Layout
    from backnorm._types import AnyArray, Float64Array, Request

__all__ = ["Target", "activated", "reduced", "saved_of", "wide"]


class Target:
    """An output array, and `view`, the array that the kernel writes: a view of it, or a copy."""

    def __init__(self, array: AnyArray, layout: Layout, *, load: bool = False) -> None:
        self.array = array
        self.view = arrange(array, layout)
        self._layout = layout
        self._is_copy = not np.may_share_memory(self.view, array)
        if self._is_copy and not load:
            self.view = np.empty_like(self.view)

    def finish(self) -> AnyArray:
        """Return the array, once the kernel has written the view."""
        if self._is_copy:
            order = self._layout.order
            ordered = self.array.transpose(order)
            ordered[...] = self.view.reshape(ordered.shape)
        return self.array


def wide(values: AnyArray | None) -> Float64Array | None:
    """Return values of shape (C,) as contiguous, aligned float64, which the kernels take."""
    if values is None:
        return None
    numbers = np.ascontiguousarray(values, dtype=np.float64)
    return numbers if numbers.flags.aligned else numbers.copy()


def saved_of(fwd: object) -> Saved:
    """Return what the forward pass saved for the backward pass."""
    if not isinstance(fwd, Forward):
        raise RangeError.stale_forward(fwd)
    return fwd.saved


def activated(fwd: Forward, layout: Layout) -> AnyArray | None:
    """Return y if the derivative of the activation is computed from it; None without activation."""
    if fwd.saved.activation == "identity":
        return None
    return arrange(fwd.y, layout)


def reduced(
    request: Request, sums: Float64Array, buffer: AnyArray | None, parameter: AnyArray | None
) -> AnyArray | None:
    """Return the gradient of a parameter: a new array in its dtype, or the buffer."""
    if request == "null" or parameter is None:
        return None
    total = sums + buffer if request == "add" and buffer is not None else sums
    if buffer is None:
        return total.astype(parameter.dtype)
    buffer[...] = total
    return buffer

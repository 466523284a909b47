"""Shape arithmetic: arrays with any channel axis and any strides as outer x channel x inner.

Kernels know three axes only: ``outer`` (the axes before the channel in memory), the channel, and
``inner`` (the axes after it). NCHW is N x C x HW, channels last is NHW x C x 1.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from backnorm._types import AnyArray, Shape

__all__ = ["Layout", "arrange", "layout_of"]


class Layout(NamedTuple):
    """How an array's axes become outer x channel x inner.

    Attributes
    ----------
    order
        The array's axes in the order outer axes, channel axis, inner axes.
    extent
        The lengths (outer, c, inner).
    plain
        Whether the axes are already in that order.
    """

    order: tuple[int, ...]
    extent: tuple[int, int, int]
    plain: bool

    @property
    def n(self) -> int:
        """How many values each channel has."""
        return self.extent[0] * self.extent[2]


def layout_of(x: AnyArray, channel_axis: int) -> Layout:
    """Return the layout that follows the memory of x; axes with longer strides are outer axes."""
    return _layout(x.shape, None if x.flags.c_contiguous else x.strides, channel_axis)


# Cached: networks normalize the same few shapes again and again, and the smallest call that is not
# a usual one takes 7 microseconds altogether (docs/performance.md).
@lru_cache(maxsize=1024)
def _layout(shape: Shape, memory_strides: tuple[int, ...] | None, channel_axis: int) -> Layout:
    """Compute a layout; strides None stands for a C-contiguous array."""
    axes = tuple(range(len(shape)))
    if memory_strides is None:
        return Layout(axes, _extent(shape, axes, channel_axis), plain=True)
    strides = [abs(stride) for stride in memory_strides]
    reduced = [axis for axis in axes if axis != channel_axis]
    reduced.sort(key=lambda axis: (shape[axis] != 1, -strides[axis]))
    channel_stride = strides[channel_axis]
    outer = [axis for axis in reduced if shape[axis] == 1 or strides[axis] > channel_stride]
    inner = [axis for axis in reduced if axis not in outer]
    order = (*outer, channel_axis, *inner)
    return Layout(order, _extent(shape, order, channel_axis), order == axes)


def _extent(shape: Shape, order: tuple[int, ...], channel_axis: int) -> tuple[int, int, int]:
    position = order.index(channel_axis)
    outer = math.prod([shape[axis] for axis in order[:position]])
    inner = math.prod([shape[axis] for axis in order[position + 1 :]])
    return outer, shape[channel_axis], inner


def arrange(array: AnyArray, layout: Layout) -> AnyArray:
    """Return array as (outer, c, inner): a view if the strides allow it, else a copy.

    The result is aligned, and its innermost axis longer than 1 is contiguous, as the contract of
    the kernels demands. It is a copy if it shares no memory with array.
    """
    flags = array.flags
    if layout.plain and flags.c_contiguous and flags.aligned:
        return array.reshape(layout.extent)
    arranged = array.transpose(layout.order).reshape(layout.extent)
    return arranged if _conforms(arranged) else np.array(arranged, order="C")


def _conforms(arranged: AnyArray) -> bool:
    flags = arranged.flags
    if flags.c_contiguous or not flags.aligned:
        return flags.aligned
    _, c, inner = arranged.shape
    if inner > 1:
        return arranged.strides[2] == arranged.itemsize
    return c == 1 or arranged.strides[1] == arranged.itemsize

"""From an array to one value per channel, and back."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from backnorm._types import AnyArray

__all__ = ["rows", "spread", "total", "widen"]


def widen(values: AnyArray) -> AnyArray:
    """Copy to float64, or to complex128 where the dtype is complex."""
    array = np.asarray(values)
    return array.astype(np.complex128 if np.iscomplexobj(array) else np.float64)


def rows(values: AnyArray, channel_axis: int) -> AnyArray:
    """Arrange as (C, n): one row of n values per channel."""
    channels_first = np.moveaxis(values, channel_axis, 0)
    # Not -1: NumPy cannot infer it for an empty array.
    n = int(np.prod(channels_first.shape[1:]))
    return channels_first.reshape(channels_first.shape[0], n)


def total(values: AnyArray, channel_axis: int) -> AnyArray:
    """Sum over all axes but that of the channels; the result has shape (C,)."""
    return np.asarray(rows(values, channel_axis).sum(axis=1))


def spread(per_channel: AnyArray, ndim: int, channel_axis: int) -> AnyArray:
    """Reshape (C,) so that it broadcasts along the channel axis of an array of `ndim` axes."""
    shape = [1] * ndim
    shape[channel_axis] = len(per_channel)
    return per_channel.reshape(shape)

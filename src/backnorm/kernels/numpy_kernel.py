"""The engine in NumPy: always available, float64 inside, blocks that fit a cache.

Each value is read once for the mean, once for the variance and once for the result. It is converted
to float64 block by block, and rounded once when the result is stored.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from backnorm.kernels._contract import Kernel
from backnorm.kernels._exact import backward_channels, forward_channels
from backnorm.kernels._higher_order import second, tangent
from backnorm.kernels.activations import ACTIVATIONS
from backnorm.results import StatisticsRow

if TYPE_CHECKING:
    from collections.abc import Iterator

    from backnorm._types import AnyArray, Float64Array, Shape
    from backnorm.kernels._contract import BackwardCall, ForwardCall

__all__ = ["KERNEL"]

# Number of values converted to float64 at a time: 64 Ki values are 512 KiB, which fits a core's
# cache, and are enough to make NumPy's cost per call small.
BLOCK = 1 << 16

Block = tuple[slice, slice, slice]


def forward(call: ForwardCall) -> None:
    """Compute y and the statistics as `_contract.ForwardCall` says."""
    with np.errstate(all="ignore"):  # the caller's NaN and infinity stay in their channel
        for channels, blocks in _tiles(call.x.shape):
            if call.law == "exact":
                forward_channels(call, channels)
                continue
            if not call.frozen:
                _store_statistics(call, channels, blocks)
            for block in blocks:
                _normalize(call, channels, block)


def _store_statistics(call: ForwardCall, channels: slice, blocks: list[Block]) -> None:
    rows = call.statistics[:, channels]
    n = call.x.shape[0] * call.x.shape[2]
    mean = sum((_total(_load(call.x, block)) for block in blocks), np.zeros(())) / n
    deviation = square = np.zeros_like(mean)
    for block in blocks:
        d = _load(call.x, block) - mean[:, None]
        deviation = deviation + _total(d)
        square = square + _total(d * d)
    # The sum of the deviations is 0 except for the rounding of the mean: it gives the mean's low
    # part, and the same correction makes the squares those around the exact mean.
    low = deviation / n
    rows[StatisticsRow.MEAN] = mean + low
    rows[StatisticsRow.MEAN_LOW] = (mean - rows[StatisticsRow.MEAN]) + low
    rows[StatisticsRow.VAR] = np.maximum(square / n - low * low, 0.0)
    rows[StatisticsRow.INV_STD] = 1.0 / np.sqrt(rows[StatisticsRow.VAR] + call.eps)


def _normalize(call: ForwardCall, channels: slice, block: Block) -> None:
    scale = _scale(call.gamma, call.statistics, channels)
    z = _centred(call.x, call.statistics, channels, block)
    z *= scale
    if call.beta is not None:
        z += call.beta[channels, None]
    if call.residual is not None:
        z += _load(call.residual, block)
    call.y[block] = ACTIVATIONS[call.activation].apply(z, call.negative_slope)


def backward(call: BackwardCall) -> None:
    """Compute the gradients as `_contract.BackwardCall` says."""
    with np.errstate(all="ignore"):
        n = call.x.shape[0] * call.x.shape[2]
        for channels, blocks in _tiles(call.x.shape):
            if call.law == "exact":
                backward_channels(call, channels)
                continue
            sums = call.sums[:, channels]
            sums[:] = 0.0
            inv_std = call.statistics[StatisticsRow.INV_STD, channels, None]
            for block in blocks:
                dz = _grad_through_activation(call, block)
                sums[0] += _total(
                    dz * (_centred(call.x, call.statistics, channels, block) * inv_std)
                )
                sums[1] += _total(dz)
            for block in blocks:
                _store_gradient(call, channels, block, sums / max(n, 1))


def _grad_through_activation(call: BackwardCall, block: Block) -> Float64Array:
    dy = _load(call.dy, block)
    if call.y is None:
        return dy
    grad_through = ACTIVATIONS[call.activation].grad_through
    return grad_through(dy, call.y[block], call.negative_slope)


def _store_gradient(call: BackwardCall, channels: slice, block: Block, means: Float64Array) -> None:
    dz = _grad_through_activation(call, block)
    if call.dresidual is not None:
        _store(call.dresidual, block, dz, add=call.add_dresidual)
    if call.dx is None:
        return
    if call.through_mean:
        dz -= means[1][:, None]
    if call.through_variance:
        factor = means[0][:, None] * call.statistics[StatisticsRow.INV_STD, channels, None]
        dz -= _centred(call.x, call.statistics, channels, block) * factor
    dz *= _scale(call.gamma, call.statistics, channels)
    _store(call.dx, block, dz, add=call.add_dx)


def _store(out: AnyArray, block: Block, values: Float64Array, *, add: bool) -> None:
    out[block] = values + _load(out, block) if add else values


def _load(array: AnyArray, block: Block) -> Float64Array:
    return array[block].astype(np.float64)


def _centred(x: AnyArray, statistics: Float64Array, channels: slice, block: Block) -> Float64Array:
    d = _load(x, block)
    d -= statistics[StatisticsRow.MEAN, channels, None]
    d -= statistics[StatisticsRow.MEAN_LOW, channels, None]
    return d


def _scale(gamma: Float64Array | None, statistics: Float64Array, channels: slice) -> Float64Array:
    inv_std = statistics[StatisticsRow.INV_STD, channels, None]
    return inv_std if gamma is None else inv_std * gamma[channels, None]


def _total(values: Float64Array) -> Float64Array:
    total: Float64Array = values.sum(axis=2).sum(axis=0)
    return total


def _tiles(shape: Shape) -> Iterator[tuple[slice, list[Block]]]:
    """Split the array into groups of channels, and each group into blocks."""
    outer, c, inner = shape
    width = max(1, min(c, BLOCK // max(outer * inner, 1)))
    height = max(1, min(outer, BLOCK // (width * max(inner, 1))))
    length = max(1, min(inner, BLOCK // width))
    for start in range(0, c, width):
        channels = slice(start, min(start + width, c))
        yield (
            channels,
            [
                (slice(o, o + height), channels, slice(i, i + length))
                for o in range(0, outer, height)
                for i in range(0, inner, length)
            ],
        )


KERNEL = Kernel("numpy", "numpy", forward, backward, tangent, second)

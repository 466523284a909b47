"""The function `merge_statistics`: running statistics of all ranks by one collective a step."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

import numpy as np

from backnorm.kernels import exact_limbs, exact_windows
from backnorm.kernels.exact_windows import Window
from backnorm.torch.distributed import exchange, operators, pending, windows
from backnorm.torch.distributed.modules import SyncBatchNorm

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import nn

    from backnorm._types import Int64Array
    from backnorm.torch.distributed.exchange import Total

__all__ = ["merge_statistics"]


def merge_statistics(model: nn.Module) -> None:
    """Move the running statistics of layers that synchronize once a step.

    They move by mean and variance of all values that the layers were given since the last call, on
    all ranks, as if these were one batch.

    Parameters
    ----------
    model
        Its layers `SyncBatchNorm(..., synchronize="step")` and `"group"` take part; a model without
        such layers is left alone. All ranks pass the same model.

    Raises
    ------
    RankError
        A pass has failed on a rank since the last call, or the ranks have other layers: on every
        rank. The sums of the step are dropped then on all of them, and the running statistics stay
        as they were.

    Notes
    -----
    Source: docs/distributed.md. Call it once a step on every rank, before or after the step of the
    optimizer. The layers count it as one batch.
    Accuracy: the sums are exact. So the running statistics are bitwise identical on every rank, and
    do not depend on how the values were cut into ranks and passes.
    Cost: one all_reduce for all layers of the same process_group, of 24 bytes, 8 bytes a layer and
    48 bytes a channel; two more in the first call, and one for values far from those of the step
    before. None in a group of one rank.

    Examples
    --------
    >>> import torch
    >>> from backnorm.torch import SyncBatchNorm, merge_statistics
    >>> layer = SyncBatchNorm(1, momentum=1.0, synchronize="step")
    >>> for batch in (torch.tensor([[0.0], [2.0]]), torch.tensor([[6.0], [8.0]])):
    ...     _ = layer(batch)
    >>> merge_statistics(layer)
    >>> layer.running_mean.item(), layer.num_batches_tracked.item()
    (4.0, 1)
    """
    groups: dict[str, list[SyncBatchNorm]] = {}
    for layer in model.modules():
        if isinstance(layer, SyncBatchNorm) and layer._is_deferred():
            groups.setdefault(layer._whole(), []).append(layer)
    for group, layers in groups.items():
        _merge(layers, group)


def _merge(layers: Sequence[SyncBatchNorm], group: str) -> None:
    edges = np.cumsum([layer.num_features for layer in layers])
    window = _window(layers)
    try:
        total = _total(layers, edges, window, group)
    finally:
        for layer in layers:
            pending.drop(layer)
    parts = np.split(total.limbs, edges[:-1])
    for layer, limbs, n in zip(layers, parts, total.counts.tolist(), strict=True):
        _move(layer, limbs, n)


def _total(
    layers: Sequence[SyncBatchNorm], edges: Int64Array, window: Window | None, group: str
) -> Total:
    """Return the sums of all layers on all ranks; of float64 if a layer has them on a rank."""
    _agree(layers, group)

    def write(limbs: Int64Array) -> list[int]:
        double = exact_limbs.are_double(limbs)
        counts = []
        for layer, rows in zip(layers, np.split(limbs, edges[:-1]), strict=True):
            pending.check_failure(layer)
            n, rows[:] = pending.sums_of(layer, double=double)
            counts.append(n)
        return counts

    return exchange.add_up(
        lambda double: exact_limbs.for_moments(int(edges[-1]), double=double),
        exact_windows.MOMENTS,
        window,
        write,
        group,
        double=any(map(pending.is_double, layers)),
        layers=len(layers),
    )


def _agree(layers: Sequence[SyncBatchNorm], group: str) -> None:
    channels = [layer.num_features for layer in layers]
    digest = zlib.crc32(np.array(channels).tobytes())
    first, name = layers[0]._layer, f"{group}, layers {digest}"
    if group != exchange.ALONE and not windows.has_agreed(first, name):
        exchange.agree_on_layers(channels, digest, group)
        windows.remember_agreement(first, name)


def _window(layers: Sequence[SyncBatchNorm]) -> Window | None:
    """Return the windows of all layers, or None before the first step."""
    lows = []
    for layer in layers:
        window = windows.windows_of(layer._layer, "merge")
        if window is None:
            return None
        lows.append(window.low)
    return Window(exact_windows.MOMENTS, np.concatenate(lows))


def _move(layer: SyncBatchNorm, limbs: Int64Array, n: int) -> None:
    """Move the running statistics of a layer by sums of n values a channel."""
    statistics = exact_limbs.statistics_of(limbs, max(n, 1), layer.eps)
    # A layer that was not called keeps its windows: 0 fits all of them.
    if n or windows.windows_of(layer._layer, "merge") is None:
        windows.remember(layer._layer, "merge", exact_windows.for_moments(statistics, max(n, 1)))
    if n:
        layer._move(operators.with_count(statistics, n))

"""The context manager `accumulate`."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch

from backnorm import _check
from backnorm.errors import RangeError
from backnorm.torch.engine.autograd import runs_backward
from backnorm.torch.recalibration.layers import (
    check_alone,
    move_towards,
    trained_layers,
    unwrapped,
)
from backnorm.torch.recalibration.pooled import PooledStatistics

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import nn

__all__ = ["accumulate"]


@contextmanager
def accumulate(model: nn.Module, k: int | None = None) -> Iterator[None]:
    """Update running statistics once for several micro-batches, as if they were one batch.

    With gradients that are accumulated over k micro-batches, each forward pass updates running
    statistics, by variances within a micro-batch. In this block they are updated after k forward
    passes, by mean and variance of all values together, with one step of momentum.

    Parameters
    ----------
    model
        Its layers of torch.nn and of backnorm.torch, but for those that evaluate when the block
        begins while the model trains.
    k
        How many forward passes of the model belong together; those that are left at the end of the
        block are one update. None: all of the block.

    Yields
    ------
    None
        Inside, the layers normalize each micro-batch by its statistics, as always. A pass in
        evaluation does not count.

    Raises
    ------
    RangeError
        k is not a whole number of at least 1.
    NotSupportedError
        A layer synchronizes with other ranks.

    Notes
    -----
    Source: docs/pytorch.md. After an exception in the block, updates that are complete stay, and
    the others are left out. A forward pass that activation checkpointing repeats does not count.
    Accuracy: the sums are exact, so the update does not depend on the size or the order of the
    micro-batches.

    Examples
    --------
    >>> import torch
    >>> from backnorm.torch import accumulate
    >>> layer = torch.nn.BatchNorm1d(1, momentum=1.0)
    >>> with accumulate(layer, 2):
    ...     for micro_batch in (torch.tensor([[0.0], [2.0]]), torch.tensor([[6.0], [8.0]])):
    ...         _ = layer(micro_batch)
    >>> layer.running_mean.item(), layer.num_batches_tracked.item()
    (4.0, 1)
    """
    if k is not None:
        k = _check.whole_number(k, 1, RangeError.micro_batches)
    model = unwrapped(model)
    layers = trained_layers(model)
    check_alone(layers, "accumulate")
    pending = _Pending(k)
    # torch.compile would translate the sums into its own operations.
    note, count = map(torch.compiler.disable, (pending.note, pending.count))
    hooks = [layer.register_forward_pre_hook(note, with_kwargs=True) for layer in layers.values()]
    hooks.append(model.register_forward_hook(count))
    try:
        for layer in layers.values():
            layer.track_running_stats = False  # in training they normalize as before
        yield
        pending.update()
    finally:
        for hook in hooks:
            hook.remove()
        for layer in layers.values():
            layer.track_running_stats = True


class _Pending:
    """Statistics that are not yet in the running ones."""

    def __init__(self, k: int | None) -> None:
        self._k, self._passes = k, 0
        self._statistics: dict[nn.Module, PooledStatistics] = {}

    def note(self, layer: nn.Module, given: tuple[Any, ...], named: dict[str, Any]) -> None:
        """Add the input of a layer; called before its forward."""
        if layer.training and not runs_backward():
            self._statistics.setdefault(layer, PooledStatistics()).add(given, named)

    def count(self, model: nn.Module, *_: Any) -> None:
        """Count a forward pass of the model; called after it."""
        if model.training and not runs_backward():
            self._passes += 1
            if self._passes == self._k:
                self.update()

    def update(self) -> None:
        """Move the running statistics of the layers that were called."""
        for layer, statistics in self._statistics.items():
            _move(layer, statistics)
        self._passes, self._statistics = 0, {}


def _move(layer: Any, statistics: PooledStatistics) -> None:
    if statistics.degrees("total") < 1:
        return
    counted = layer.num_batches_tracked
    batches = 1 if counted is None else int(counted) + 1
    weight = 1.0 / batches if layer.momentum is None else layer.momentum
    found = (statistics.mean(), statistics.unbiased_var("total"))
    move_towards(layer, found, weight, batches)

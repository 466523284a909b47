"""The function `update_bn`."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from backnorm import _check
from backnorm._meter import Meter, metered
from backnorm.errors import RangeError
from backnorm.torch.recalibration.layers import (
    check_alone,
    move_towards,
    restored,
    trained_layers,
    unchanged,
    unwrapped,
)
from backnorm.torch.recalibration.passes import run_pass
from backnorm.torch.recalibration.ranks import is_first, on_all_ranks

if TYPE_CHECKING:
    from collections.abc import Iterable

    from torch import nn
    from torch.distributed import ProcessGroup

    from backnorm._types import Variance
    from backnorm.torch.recalibration.passes import Device
    from backnorm.torch.recalibration.ranks import Found

__all__ = ["update_bn"]


def update_bn(
    loader: Iterable[Any],
    model: nn.Module,
    device: Device = None,
    *,
    process_group: ProcessGroup | None = None,
    variance: Variance = "total",
) -> None:
    """Compute the running statistics of a model's batch normalizations from a data set.

    A drop-in replacement for torch.optim.swa_utils.update_bn, which averages the variances of the
    batches: on a loader that is sorted, the spread between batches is lost. Here the statistics are
    those of all values together, added exactly.

    Parameters
    ----------
    loader
        Yields batches: a tensor, or a list or tuple whose first element is one.
    model
        Its layers of torch.nn and of backnorm.torch that train are updated. Layers that evaluate
        in a model that trains stay as they are, and so do those with momentum=0 and those without
        running statistics. Of a model that evaluates, the layers count that `model.train()` sets to
        training.
    device
        Where the batches are moved to; None leaves them.
    process_group
        The ranks that each see a part of the data, if torch.distributed is initialized; all of them
        must call this, also those without a batch. None: this process alone.
    variance
        "total": of each layer's inputs in evaluation, around their mean. "within": of the inputs in
        training, around the mean of the batch that they were in, as the average that training
        keeps.

    Raises
    ------
    RangeError
        The loader has no batch, can be read only once although it is read for each layer, or has
        too few values for a variance.
    NotSupportedError
        A layer synchronizes with other ranks, and variance is "within".
    RankError
        Another rank of process_group failed.
    UnknownNameError
        An unknown variance.

    Notes
    -----
    Source: docs/pytorch.md. After an exception everything is as it was before: modes, running
    statistics, num_batches_tracked.
    Accuracy: the sums are exact, see `backnorm.Moments`. With "total" the result does not depend on
    the size or the order of batches, nor on the ranks, except as far as the model's own layers
    round their outputs differently for another batch.
    Cost: "within" is one pass over the loader, with batch statistics in all layers. With "total"
    each layer is measured when those before it have their final statistics: a pass for each layer,
    which ends at that layer. The input of a layer with several calls in one forward pass is
    computed with its statistics of before.

    Examples
    --------
    >>> import torch
    >>> from backnorm.torch import update_bn
    >>> model = torch.nn.BatchNorm1d(1)
    >>> update_bn([torch.tensor([[0.0], [2.0]]), torch.tensor([[6.0], [8.0]])], model)
    >>> model.running_mean.item(), round(model.running_var.item(), 4)
    (4.0, 13.3333)
    """
    _check.name_of("variance", variance, _check.VARIANCES)
    model = unwrapped(model)
    layers = trained_layers(model)
    if not layers:
        return
    if variance == "within":
        check_alone(layers, 'update_bn with variance="within"')
    update = _Update(loader, model, device, layers, process_group, variance)
    batches = _length(loader)
    total = batches and batches * (len(layers) if variance == "total" else 1)
    told = metered("update_bn", total) if is_first(process_group) else nullcontext(Meter(_silent))
    with torch.no_grad(), restored(model), told as meter:
        if variance == "total":
            update.one_after_the_other(meter)
        else:
            update.at_once(meter)


def _length(loader: Iterable[Any]) -> int | None:
    try:
        return len(loader)  # type: ignore[arg-type] # not all have a length
    except TypeError:
        return None


def _silent(_: Meter) -> None:
    """Tell nothing: another rank does."""


@dataclass(frozen=True, slots=True)
class _Update:
    """One call of `update_bn`, with its arguments and the layers that it updates."""

    loader: Iterable[Any]
    model: nn.Module
    device: Device
    layers: dict[str, Any]
    group: ProcessGroup | None
    variance: Variance

    def at_once(self, meter: Meter) -> None:
        """Measure all layers in one pass, in which they normalize by the batch."""
        if not self.model.training:
            self.model.train()
        with unchanged(self.model):
            found = self._pass(dict.fromkeys(self.layers, 0), meter)
        for name in found.statistics:
            self._write(name, found, found.batches)

    def one_after_the_other(self, meter: Meter) -> None:
        """Measure a layer when those before it have their statistics."""
        self.model.eval()
        first = self._pass(None, meter)
        waiting = dict(first.calls)
        # Ranks may differ in the layer that they call first: then it waits as the others do.
        if list(first.statistics) == list(waiting)[:1]:
            (measured,) = first.statistics
            self._write(measured, first, first.batches)
            del waiting[measured]
        if waiting and iter(self.loader) is self.loader:
            raise RangeError.read_once(len(first.calls))
        for name, calls in waiting.items():
            meter.part = name
            self._write(name, self._pass({name: calls}, meter), first.batches)

    def _pass(self, measured: dict[str, int] | None, meter: Meter) -> Found:
        def run() -> Found:
            given = (self.loader, self.model, self.device, self.layers)
            return run_pass(*given, measured=measured, meter=meter)

        found = on_all_ranks(self.group, run)
        if not found.batches:
            raise RangeError.no_batch()
        return found

    def _write(self, name: str, found: Found, batches: int) -> None:
        found_here = found.statistics[name]
        if found_here.degrees(self.variance) < 1:
            raise RangeError.no_variance(name, found_here.values.n, found_here.calls)
        statistics = (found_here.mean(), found_here.unbiased_var(self.variance))
        move_towards(self.layers[name], statistics, 1.0, batches)

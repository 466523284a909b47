"""Which layers have running statistics to compute, and their state before."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import distributed, nn
from torch.nn.modules.batchnorm import _BatchNorm, _NormBase
from torch.nn.parallel import DistributedDataParallel
from torch.optim.swa_utils import AveragedModel

from backnorm.errors import NotSupportedError
from backnorm.torch.distributed.pending import MERGED_LATER
from backnorm.torch.engine import layers

if TYPE_CHECKING:
    from collections.abc import Iterator

    from backnorm._types import Float64Array

__all__ = ["check_alone", "move_towards", "restored", "trained_layers", "unchanged", "unwrapped"]

WRAPPERS = (DistributedDataParallel, nn.DataParallel, AveragedModel)
"""They hold a model as `module`, and call it."""

BATCH_NORMS = (_BatchNorm, *layers.LAYERS)


class _Kept(NamedTuple):
    """The buffers of a layer, and their values before."""

    buffers: dict[str, torch.Tensor]
    values: dict[str, torch.Tensor]


def unwrapped(model: nn.Module) -> nn.Module:
    """Return the model in a wrapper, whose own forward may wait for other ranks."""
    while True:
        inner = getattr(model, "_orig_mod", None)  # of torch.compile
        if isinstance(model, WRAPPERS):
            inner = model.module
        if not isinstance(inner, nn.Module):
            return model
        model = inner


def trained_layers(model: nn.Module) -> dict[str, Any]:
    """Return the layers whose running statistics a training step would change, by their names.

    Of a model that evaluates, they are those that train after model.train().
    """
    modes = _modes(model)
    if not model.training:
        model.train()
    try:
        return {name: m for name, m in model.named_modules() if _changes(m)}
    finally:
        _set(modes)


def check_alone(layers: dict[str, Any], function: str) -> None:
    """Raise an error if a layer that trains would synchronize with other ranks."""
    if not (distributed.is_available() and distributed.is_initialized()):
        return
    for name, layer in layers.items():
        shares = hasattr(layer, "process_group")
        if shares and distributed.get_world_size(layer.process_group) > 1:
            raise NotSupportedError.synchronized(function, name)


def _changes(module: Any) -> bool:
    if not (isinstance(module, BATCH_NORMS) and module.training):
        return False
    tracks = getattr(module, "track_running_stats", False) and module.running_mean is not None
    return bool(tracks and module.momentum != 0.0)


@contextmanager
def restored(model: nn.Module) -> Iterator[None]:
    """Restore all modes at the end; after an exception the statistics of all layers too."""
    modes = _modes(model)
    norms = [m for m in model.modules() if isinstance(m, _NormBase)]
    kept = [_kept(module) for module in norms]
    try:
        yield
    except BaseException:
        _write(kept)
        raise
    finally:
        _set(modes)


@contextmanager
def unchanged(model: nn.Module) -> Iterator[None]:
    """Restore the statistics of all layers at the end, whatever happened."""
    kept = [_kept(m) for m in model.modules() if isinstance(m, _NormBase)]
    try:
        yield
    finally:
        _write(kept)


def move_towards(
    layer: Any, statistics: tuple[Float64Array, Float64Array], weight: float, batches: int
) -> None:
    """Move the running mean and variance, and set how many batches the layer has counted."""
    with torch.no_grad():
        buffers = (layer.running_mean, layer.running_var)
        for running, batch in zip(buffers, statistics, strict=True):
            new = torch.from_numpy(batch).to(running.device)
            if weight != 1.0:
                new = (1 - weight) * running.to(new.dtype) + weight * new
            running.copy_(new)
        if layer.num_batches_tracked is not None:
            layer.num_batches_tracked.fill_(batches)


def _kept(module: nn.Module) -> _Kept:
    buffers = dict(module.named_buffers(recurse=False))
    sums = vars(module).get(MERGED_LATER)
    if sums is not None:
        buffers[MERGED_LATER] = sums
    return _Kept(buffers, {name: buffer.clone() for name, buffer in buffers.items()})


def _write(kept: list[_Kept]) -> None:
    with torch.no_grad():
        for buffers, values in kept:
            for name, buffer in buffers.items():
                buffer.copy_(values[name])


def _modes(model: nn.Module) -> list[tuple[nn.Module, bool]]:
    return [(module, module.training) for module in model.modules()]


def _set(modes: list[tuple[nn.Module, bool]]) -> None:
    for module, training in modes:
        module.training = training

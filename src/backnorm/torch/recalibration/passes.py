"""Passes of a model over all batches, in which the inputs of some layers are measured."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

import torch

from backnorm.torch.recalibration.pooled import PooledStatistics
from backnorm.torch.recalibration.ranks import Found

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from torch import nn

    from backnorm._meter import Meter

__all__ = ["Device", "run_pass"]

Device = int | str | torch.device | None


class _Reached(BaseException):
    """The last layer that is measured has its input: what follows need not run.

    It is no Exception, so that no code of the model takes it for an error.
    """


def run_pass(
    loader: Iterable[Any],
    model: nn.Module,
    device: Device,
    layers: Mapping[str, nn.Module],
    *,
    measured: Mapping[str, int] | None,
    meter: Meter,
) -> Found:
    """Call the model with each batch, and measure the inputs of some layers.

    Parameters
    ----------
    loader, model, device
        As `update_bn` has them.
    layers
        The layers whose calls are counted.
    measured
        The layers that are measured, and after how many calls of each a forward pass has done its
        work. None: the layer that is called first is measured, and each pass runs to its end.
    meter
        What is told of each batch.
    """
    pass_ = _Pass(measured)
    hooks = [
        layer.register_forward_pre_hook(pass_.hook(name), with_kwargs=True)
        for name, layer in layers.items()
    ]
    try:
        for batch in loader:
            x = batch[0] if isinstance(batch, (list, tuple)) else batch
            pass_.begin()
            with suppress(_Reached):
                model(x if device is None else x.to(device))
            meter.advance()
    finally:
        for hook in hooks:
            hook.remove()
    return pass_.found


class _Pass:
    """One pass: what is measured, and what was found."""

    def __init__(self, measured: Mapping[str, int] | None) -> None:
        self.found = Found()
        self._measured = dict(measured or {})
        self._is_first = measured is None
        self._calls: dict[str, int] = {}

    def begin(self) -> None:
        """Count a batch."""
        self.found.batches += 1
        self._calls = {}

    def hook(self, name: str) -> Any:
        """Return what is called before the forward of a layer."""

        def before(_: nn.Module, given: tuple[Any, ...], named: dict[str, Any]) -> None:
            self._called(name, given, named)

        return before

    def _called(self, name: str, given: tuple[Any, ...], named: dict[str, Any]) -> None:
        calls = self._calls[name] = self._calls.get(name, 0) + 1
        self.found.calls[name] = max(calls, self.found.calls.get(name, 0))
        if self._is_first and not self._measured:
            self._measured = {name: 0}
        if name not in self._measured:
            return
        self.found.statistics.setdefault(name, PooledStatistics()).add(given, named)
        done = all(0 < most <= self._calls.get(m, 0) for m, most in self._measured.items())
        if done:
            raise _Reached

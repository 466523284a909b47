"""Fold the norms of a Caffe network into the convolutions and dense layers before them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np

from backnorm.convert.files.caffe._kernels import KINDS
from backnorm.convert.files.caffe._net import scale_of
from backnorm.convert.files.caffe._rewire import Rewiring
from backnorm.convert.files.folding import _reasons as reasons
from backnorm.convert.files.folding._law import KernelAxes, finite, fold_law_of, why_unfit
from backnorm.errors import ConversionError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from backnorm._types import AnyArray
    from backnorm.convert.files.caffe._net import NetLayer
    from backnorm.convert.files.record import NormLayer

__all__ = ["NetFolder"]

MATRIX: Final = 2
"""Axes of the weights of a dense layer; old files write two more before them."""

WEIGHTS_AND_BIAS: Final = 2


@dataclass(slots=True)
class NetFolder:
    """Folds norms one after the other, in the order of the network.

    Attributes
    ----------
    net
        The layers that are left.
    blobs
        By layer, those that are stored.
    removed
        The names of the layers that were folded.
    changed
        By their names, the layers that they were folded into.
    """

    net: list[NetLayer]
    blobs: dict[str, tuple[AnyArray, ...]]
    removed: set[str]
    changed: dict[str, Rewiring]

    def fold(self, layers: Iterable[NormLayer]) -> list[tuple[str, str]]:
        """Fold what can be folded.

        Parameters
        ----------
        layers
            The norms that were read from the file.

        Returns
        -------
        list of tuple
            For each of them the layer that it is folded into, or "", and why it is left.
        """
        return [self._fold(layer) for layer in layers]

    def _fold(self, layer: NormLayer) -> tuple[str, str]:
        at = next(index for index, part in enumerate(self.net) if part.name == layer.name)
        before = _writer(self.net, at)
        if before is None:
            return "", reasons.reads_input()
        linear, last = self.net[before], self._last(at)
        why_left = self._why_not(before, at, last) or _why_batch(layer)
        if why_left:
            return "", why_left
        weights, *bias = self.blobs[linear.name]
        shape = _shape_of(linear, weights)
        why_left = why_unfit(linear.name, weights.reshape(shape), _axes(linear), layer.channels)
        if not why_left and any(row.size != layer.channels for row in bias):
            why_left = reasons.wrong_channels(linear.name, bias[0].shape, layer.channels)
        if why_left:
            return "", why_left
        try:
            law = fold_law_of(layer)
        except ConversionError as error:
            return "", error.problem
        kernel = law.kernel(weights.reshape(shape), _axes(linear))
        new = law.bias(bias[0].reshape(-1) if bias else None, weights.dtype)
        if not finite(kernel, new):
            return "", reasons.not_finite(linear.name, weights.dtype)
        stored = (kernel.reshape(weights.shape), new.reshape(bias[0].shape) if bias else new)
        self._take_over(before, at, last, stored)
        return linear.name, ""

    def _last(self, at: int) -> NetLayer:
        """Return the Scale layer of a norm, if it has one, or the norm."""
        scale = scale_of(self.net, at)
        return scale if scale is not None and self.blobs.get(scale.name) else self.net[at]

    def _why_not(self, before: int, at: int, last: NetLayer) -> str:
        """Return why the layer before a norm cannot take it; usually nothing."""
        linear, norm = self.net[before], self.net[at]
        if linear.type not in KINDS:
            return reasons.not_linear(linear.type)
        others = [part.name for part in _readers(self.net, before) if part is not norm]
        if others:
            return reasons.read_by_others(linear.name, others)
        sharing = [
            part.name
            for part in self.net
            if part is not linear and {*part.shares} & {*linear.shares}
        ]
        if sharing:
            return reasons.shared(linear.name, sharing)
        if not 1 <= len(self.blobs.get(linear.name, ())) <= WEIGHTS_AND_BIAS:
            return reasons.not_stored(linear.name)
        if linear.axis != 1:
            return reasons.another_axis(linear.name)
        return self._why_taken(before, norm, last)

    def _why_taken(self, before: int, norm: NetLayer, last: NetLayer) -> str:
        """Return who uses the blob of the norm's output while it has not been computed yet."""
        if not last.tops:
            return reasons.unread()
        top, end = last.tops[0], self.net.index(last)
        if top == self.net[before].tops[0]:
            return ""
        between = [part for part in self.net[before + 1 : end] if part is not norm]
        using = [part.name for part in between if top in (*part.bottoms, *part.tops)]
        return reasons.name_in_use(top, using) if using else ""

    def _take_over(
        self, before: int, at: int, last: NetLayer, blobs: tuple[AnyArray, AnyArray]
    ) -> None:
        linear, norm = self.net[before], self.net[at]
        self.net[before] = replace(linear, tops=last.tops)
        self.net = [part for part in self.net if part is not norm and part is not last]
        self.removed |= {norm.name, last.name}
        self.blobs[linear.name] = blobs
        self.changed[linear.name] = Rewiring(last.name, blobs)


def _writer(net: Sequence[NetLayer], at: int) -> int | None:
    """Return which layer wrote what a layer reads."""
    bottoms = net[at].bottoms[:1]
    writers = [index for index in range(at) if {*bottoms} & {*net[index].tops}]
    return writers[-1] if writers else None


def _readers(net: Sequence[NetLayer], at: int) -> list[NetLayer]:
    """Return the layers that read a layer's output before it is written anew."""
    readers = []
    for blob in net[at].tops:
        for layer in net[at + 1 :]:
            if blob in layer.bottoms:
                readers.append(layer)
            if blob in layer.tops:
                break
    return readers


def _why_batch(layer: NormLayer) -> str:
    by_batch = layer.options.get("use_global_stats") is False
    return reasons.normalizes_by_batch("use_global_stats is false") if by_batch else ""


def _axes(linear: NetLayer) -> KernelAxes:
    kind = KINDS[linear.type]
    if kind == "transposed":
        return KernelAxes(1, linear.groups)
    return KernelAxes(1 if kind == "dense" and linear.transposed else 0)


def _shape_of(linear: NetLayer, weights: AnyArray) -> tuple[int, ...]:
    """Return the shape of the weights without the axes of length 1 that old files have."""
    old = KINDS[linear.type] == "dense" and weights.ndim > MATRIX
    return (int(np.prod(weights.shape[:-1])), weights.shape[-1]) if old else weights.shape

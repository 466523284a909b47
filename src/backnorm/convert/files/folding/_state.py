"""Fold the norms of a state_dict, which tells no wiring, for a network without the norms.

The order and the names of a state_dict say which layer stands before a norm, as a rule: the names
bn1 and conv1, or the numbers 1 and 0 of a Sequential; or the array that stands right before the
norm's. The state_dict of the network without norms says which norms go and which layers get a bias.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from backnorm.convert.files._arrays import shapes_of
from backnorm.convert.files._flat_kernels import kernels_by_name
from backnorm.convert.files.folding import _reasons as reasons
from backnorm.convert.files.folding._law import (
    KernelAxes,
    finite,
    fold_law_of,
    layer_fold,
    why_unfit,
)
from backnorm.convert.files.naming.names import names_of
from backnorm.errors import ConversionError, FoldError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from backnorm._types import AnyArray
    from backnorm.convert.files.record import LayerFold, ModelFile, NormLayer

__all__ = ["fold_state"]

WEIGHT, BIAS = "weight", "bias"

OF_NORMS: Final = re.compile(r"batch_?norm|norm|bn", re.IGNORECASE)
OF_LINEAR: Final = re.compile(r"conv(?:olution)?|linear|dense|fc", re.IGNORECASE)
"""The words by which layers are called, in names such as bn1 and conv1."""

TRANSPOSED: Final = re.compile(r"transpose|deconv", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class _StateLayer:
    """A convolution or dense layer: its name, the names of its arrays, and its kernel's shape."""

    name: str
    weight: str
    bias: str
    shape: tuple[int, ...]

    def axes(self, channels: int) -> KernelAxes | None:
        """Return where so many output channels lie; None if they do not, or that is not clear."""
        if self.shape[0] == channels:
            square = len(self.shape) > 2 and self.shape[1] == channels  # noqa: PLR2004 - a matrix
            return None if square and TRANSPOSED.search(self.name) else KernelAxes(0)
        return KernelAxes(1) if len(self.shape) > 2 and self.shape[1] == channels else None  # noqa: PLR2004


def fold_state(model: ModelFile, like: ModelFile | None) -> tuple[ModelFile, tuple[LayerFold, ...]]:
    """Fold the norms that a target lacks; a norm whose layer is not clear is an error.

    Parameters
    ----------
    model
        A state_dict of PyTorch, in any format.
    like
        That of the network without the norms.

    Returns
    -------
    tuple of ModelFile and tuple of LayerFold
        A new file, under the names of the old one.

    Raises
    ------
    FileError
        If like is missing, the names are not PyTorch's, or it is not clear what a norm follows.
    """
    file = Path(model.path).name
    if any(layer.dialect != "torch" for layer in model.layers):
        raise FoldError.no_fold(file, f"{model.format} of {model.layers[0].dialect}")
    if like is None:
        raise FoldError.needs_like(file)
    kept = {layer.name for layer in like.layers}
    pairs = _paired(model, like, [layer for layer in model.layers if layer.name not in kept])
    others, results = dict(model.others), []
    for layer in model.layers:
        if layer.name in kept:
            results.append(("", f"{Path(like.path).name} has it too"))
            continue
        others = _folded(file, others, layer, pairs[layer.name])
        results.append((pairs[layer.name].name, ""))
    layers = tuple(layer for layer in model.layers if layer.name in kept)
    kernels = kernels_by_name(layers, shapes_of(others))
    folded = replace(model, layers=layers, others=others, content=None, kernels=kernels)
    return folded, tuple(map(layer_fold, model.layers, results))


def _folded(
    file: str, others: Mapping[str, AnyArray], norm: NormLayer, layer: _StateLayer
) -> dict[str, AnyArray]:
    """Return all arrays with the weights of a layer folded, its bias right after them."""
    weights, axes = others[layer.weight], layer.axes(norm.channels)
    why = "" if axes is None else why_unfit(layer.name, weights, axes, norm.channels)
    old = others.get(layer.bias)
    if not why and old is not None and old.shape != (norm.channels,):
        why = reasons.wrong_channels(layer.name, old.shape, norm.channels)
    if axes is None or why:
        raise FoldError.unfoldable(file, norm.name, why, [layer.name])
    try:
        law = fold_law_of(norm)
    except ConversionError as error:
        raise ConversionError.of_layer(file, norm.name, error) from error
    kernel = law.kernel(weights, axes)
    bias = law.bias(old, weights.dtype)
    if not finite(kernel, bias):
        why = reasons.not_finite(layer.name, weights.dtype)
        raise FoldError.unfoldable(file, norm.name, why, [layer.name])
    new: dict[str, AnyArray] = {}
    for name, array in others.items():
        if name == layer.weight:
            new |= {name: kernel, layer.bias: bias}
        elif name != layer.bias:
            new[name] = array
    return new


def _paired(
    model: ModelFile, like: ModelFile, norms: Sequence[NormLayer]
) -> dict[str, _StateLayer]:
    """Return the layer of each norm, no layer twice."""
    layers = [layer for layer in _state_layers(model) if _may_have_bias(layer, like)]
    order = _Order({name: index for index, name in enumerate(model.order)})
    pairs: dict[str, _StateLayer] = {}
    for norm in norms:
        fits = [layer for layer in layers if layer.axes(norm.channels) is not None]
        found = [layer for layer in fits if _alike(layer.name, norm.name)]
        found = [layer for layer in found if not order.contradicts(layer, norm)]
        found = found or [layer for layer in fits if order.right_before(layer, norm)]
        if len(found) != 1:
            names = [layer.name for layer in found or fits]
            raise FoldError.unfoldable(Path(model.path).name, norm.name, "", names)
        pairs[norm.name] = found[0]
    taken = [layer.name for layer in pairs.values()]
    for norm_name, layer in pairs.items():
        if taken.count(layer.name) > 1:
            why = f"{layer.name} would get two norms"
            raise FoldError.unfoldable(Path(model.path).name, norm_name, why, [layer.name])
    return pairs


def _state_layers(model: ModelFile) -> list[_StateLayer]:
    return [
        _StateLayer(before, name, f"{before}.{BIAS}", array.shape)
        for name, array in model.others.items()
        for before, dot, last in [name.rpartition(".")]
        if dot and last == WEIGHT and array.ndim > 1
    ]


def _may_have_bias(layer: _StateLayer, like: ModelFile) -> bool:
    """Return whether the target has a bias for a layer; a layer under another name may have one."""
    return layer.weight not in like.others or layer.bias in like.others


def _alike(layer: str, norm: str) -> bool:
    """Return whether two names say that a norm follows a layer."""
    (parent, _, last), (other, _, of_norm) = layer.rpartition("."), norm.rpartition(".")
    if parent != other:
        return False
    if last.isdecimal() and of_norm.isdecimal():
        return of_norm == str(int(last[:9]) + 1)
    words = OF_LINEAR.search(last) and OF_NORMS.search(of_norm)
    return bool(words) and OF_LINEAR.sub("", last) == OF_NORMS.sub("", of_norm)


@dataclass(frozen=True, slots=True)
class _Order:
    """Where arrays stand in a file that keeps the order of the network; empty for another file."""

    positions: Mapping[str, int]

    def of(self, norm: NormLayer) -> int:
        """Return where the arrays of a norm begin."""
        return min(self.positions[name] for name in names_of(norm).values())

    def contradicts(self, layer: _StateLayer, norm: NormLayer) -> bool:
        """Return whether a layer stands after a norm."""
        return bool(self.positions) and self.positions[layer.weight] > self.of(norm)

    def right_before(self, layer: _StateLayer, norm: NormLayer) -> bool:
        """Return whether nothing stands between a layer and a norm, as far as the file tells."""
        if not self.positions or _apart(layer.name, norm.name):
            return False
        ends = [self.positions.get(name, -1) for name in (layer.weight, layer.bias)]
        return max(ends) + 1 == self.of(norm)


def _apart(layer: str, norm: str) -> bool:
    """Return whether both are in one Sequential, so that their numbers tell what lies between."""
    (parent, _, last), (other, _, of_norm) = layer.rpartition("."), norm.rpartition(".")
    return parent == other and last.isdecimal() and of_norm.isdecimal()

"""The kernels of a Caffe network: convolutions, deconvolutions and InnerProduct layers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from backnorm.convert.files._trace import NO_MAP, TraceStep, channels_before
from backnorm.convert.files.naming._layouts import LAYOUTS
from backnorm.convert.files.record import LayerKernel

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from backnorm._types import AnyArray
    from backnorm.convert.files.caffe._net import NetLayer

__all__ = ["KINDS", "V1_TYPES", "kernels_of"]

V1_TYPES: Final = {4: "Convolution", 14: "InnerProduct", 39: "Deconvolution"}
"""``V1LayerParameter.type``: the layers that have kernels."""

KINDS: Final = {
    "Convolution": "conv",
    "CONVOLUTION": "conv",
    "DepthwiseConvolution": "conv",
    "Deconvolution": "transposed",
    "DECONVOLUTION": "transposed",
    "InnerProduct": "dense",
    "INNER_PRODUCT": "dense",
}

SAME: Final = ("relu", "dropout", "sigmoid", "tanh", "absval", "bnll", "elu", "power", "softmax")
KEEPS: Final = ("pooling", "lrn", "batchnorm", "scale", "eltwise", "prelu", "split", "bias", "mvn")
ROLES: Final = dict.fromkeys(SAME, "same") | dict.fromkeys(KEEPS, "keeps") | {"flatten": "flatten"}

LEGACY_AXES: Final = 4
"""Of every blob that Caffe wrote before blobs had any number of axes."""


def kernels_of(
    layers: Sequence[NetLayer], arrays: Mapping[str, AnyArray]
) -> tuple[LayerKernel, ...]:
    """Find the kernels among the arrays, which are named by their layer and number.

    Parameters
    ----------
    layers
        In the order in which they run.
    arrays
        The arrays that belong to no normalization.

    Returns
    -------
    tuple of LayerKernel
        In that order.
    """
    before = list(_inputs(layers))
    steps = {str(index): _step(layer, before[index], arrays) for index, layer in enumerate(layers)}
    found = []
    for index, layer in enumerate(layers):
        weight, kind = f"{layer.name}.0", KINDS.get(layer.type)
        if kind is None or weight not in arrays:
            continue
        bias = f"{layer.name}.1" if f"{layer.name}.1" in arrays else ""
        array = arrays[weight]
        if kind == "dense":
            source = next(iter(before[index]), "")
            channels = channels_before(steps, source, flattens=True)
            kernel = _dense(layer, array, bias, channels)
        else:
            kernel = _convolution(layer, kind, array, bias)
        found.append(kernel)
    return tuple(found)


def _inputs(layers: Sequence[NetLayer]) -> Iterator[tuple[str, ...]]:
    """Yield for each layer which layers wrote its blobs: a blob may be written anew in place."""
    writer: dict[str, str] = {}
    for index, layer in enumerate(layers):
        yield tuple(writer.get(blob, "") for blob in layer.bottoms)
        writer |= dict.fromkeys(layer.tops, str(index))


def _step(layer: NetLayer, inputs: tuple[str, ...], arrays: Mapping[str, AnyArray]) -> TraceStep:
    kind = KINDS.get(layer.type)
    weight = arrays.get(f"{layer.name}.0")
    if kind == "dense":
        return TraceStep("vector", inputs)
    if kind is not None and weight is not None and weight.ndim > 1:
        out = weight.shape[0] if kind == "conv" else weight.shape[1] * layer.groups
        return TraceStep("map", inputs, int(out))
    return TraceStep(ROLES.get(layer.type.lower().replace("_", ""), "other"), inputs)


def _dense(layer: NetLayer, array: AnyArray, bias: str, channels: int | None) -> LayerKernel:
    layout = "(IS)O" if layer.transposed else LAYOUTS["caffe"]["dense"]
    if array.ndim == LEGACY_AXES:
        layout = f"11{layout}"
    if channels == NO_MAP:
        channels = int(array.shape[-2 if layer.transposed else -1])
    return LayerKernel(layer.name, "dense", f"{layer.name}.0", layout, bias, channels)


def _convolution(layer: NetLayer, kind: str, array: AnyArray, bias: str) -> LayerKernel:
    alone = array.ndim > 1 and array.shape[1] == 1 and layer.groups > 1
    if kind == "conv" and alone and layer.groups <= array.shape[0]:
        kind = "depthwise"
    channels = layer.groups if kind == "depthwise" else None
    layout = LAYOUTS["caffe"][kind]
    return LayerKernel(layer.name, kind, f"{layer.name}.0", layout, bias, channels, layer.groups)

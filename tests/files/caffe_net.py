"""What a small Caffe network computes in float64, by the definition of each layer alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from backnorm.convert.files._budget import Budget
from backnorm.convert.files._content import InMemory
from backnorm.convert.files._slots import array_in
from backnorm.convert.files.caffe._layers import file_layers
from backnorm.convert.files.caffe._net import layers_of_prototxt
from backnorm.convert.files.caffe._wire import Wire

if TYPE_CHECKING:
    from pathlib import Path

    from backnorm.convert.files.caffe._net import NetLayer


def computed(path: Path, x: np.ndarray) -> dict[str, np.ndarray]:
    """Run the layers in their order on the blob x, and return all blobs as they are at the end."""
    budget = Budget(path.name, float("inf"))
    data = path.read_bytes()
    stored = list(file_layers(Wire(path.name, data, budget)))
    weights = {
        layer.net.name: [
            array_in(budget, "", InMemory(data), s).astype(np.float64) for s in layer.blobs
        ]
        for layer in stored
    }
    text = path.with_suffix(".prototxt")
    own = [layer.net for layer in stored]
    net = layers_of_prototxt(text.name, text.read_text()) if text.exists() else own
    blobs = {"x": x.astype(np.float64)}
    for layer in net:
        blobs[layer.tops[0]] = _run(layer, blobs[layer.bottoms[0]], weights.get(layer.name, []))
    return blobs


def _run(layer: NetLayer, x: np.ndarray, blobs: list[np.ndarray]) -> np.ndarray:
    along = (1, -1, *[1] * (x.ndim - 2))
    if layer.type == "ReLU":
        return np.maximum(x, 0.0)
    if layer.type == "BatchNorm":
        mean, var = (blob.reshape(along) / blobs[2].item() for blob in blobs[:2])
        return (x - mean) / np.sqrt(var + float(layer.options["eps"]))
    if layer.type == "Scale":
        y = x * blobs[0].reshape(along)
    elif layer.type == "InnerProduct":
        matrix = blobs[0].reshape(blobs[0].shape[-2:])
        y = x @ (matrix if layer.transposed else matrix.T)
    elif layer.type == "Deconvolution":
        y = _deconvolution(x, blobs[0], layer.groups)
    else:
        y = _convolution(x, blobs[0], layer.groups)
    return y + blobs[1].reshape(along) if len(blobs) > 1 else y


def _convolution(x: np.ndarray, kernel: np.ndarray, groups: int) -> np.ndarray:
    """Without padding, with strides of 1."""
    windows = np.lib.stride_tricks.sliding_window_view(x, kernel.shape[2:], axis=(2, 3))
    parts = zip(np.split(windows, groups, axis=1), np.split(kernel, groups), strict=True)
    return np.concatenate([np.einsum("nihwab,oiab->nohw", w, k) for w, k in parts], axis=1)


def _deconvolution(x: np.ndarray, kernel: np.ndarray, groups: int) -> np.ndarray:
    """Each input value times the kernel, summed where the kernel lies."""
    n, _, height, width = x.shape
    outputs = []
    for part, k in zip(np.split(x, groups, axis=1), np.split(kernel, groups), strict=True):
        y = np.zeros((n, k.shape[1], height + k.shape[2] - 1, width + k.shape[3] - 1))
        for a in range(height):
            for b in range(width):
                here = np.einsum("ni,ioab->noab", part[:, :, a, b], k)
                y[:, :, a : a + k.shape[2], b : b + k.shape[3]] += here
        outputs.append(y)
    return np.concatenate(outputs, axis=1)

"""Read the batch normalizations of a .caffemodel, without Caffe, protobuf and backnorm."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

import numpy as np

from _network_norms import Norm, norm_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CAFFE_EPS = 1e-5
"""The default of BatchNormParameter in caffe.proto."""

LAYER, NAME, TYPE, BOTTOM, TOP, BLOBS, NORM = 100, 1, 2, 3, 4, 7, 139
"""Fields of NetParameter and LayerParameter in caffe.proto."""

EPS, DATA, VARINT, FIXED64, BYTES = 3, 5, 0, 1, 2
"""Fields of BatchNormParameter and BlobProto, and wire types of protobuf."""


def read_caffe(path: Path) -> list[Norm]:
    """Read the BatchNorm layers of a .caffemodel, each with the Scale layer that reads its output.

    Caffe keeps sums: the third blob is what mean and variance are divided by.
    """
    layers = [_fields(data) for field, data in _pairs(path.read_bytes()) if field == LAYER]
    norms = []
    for index, layer in enumerate(layers):
        if layer[TYPE] == [b"BatchNorm"]:
            mean, var, divisor = map(_blob, layer[BLOBS])
            scales = [one for one in layers[index + 1 :] if one[TYPE] == [b"Scale"]]
            scale = next(one for one in scales if one[BOTTOM] == layer[TOP])
            option = _fields(layer[NORM][0]).get(EPS) if NORM in layer else None
            eps = struct.unpack("<f", option[0])[0] if option else CAFFE_EPS
            gamma, beta = map(_blob, scale[BLOBS])
            name = layer[NAME][0].decode()
            norms.append(norm_of(name, gamma, beta, mean / divisor, var / divisor, eps=eps))
    return norms


def _blob(data: bytes) -> Any:
    """Return a blob's values; float32 values may be packed, or a field each."""
    return np.frombuffer(b"".join(_fields(data)[DATA]), "<f4").astype(np.float64)


def _fields(data: bytes) -> dict[int, list[Any]]:
    """Return the fields of a protobuf message, by their numbers."""
    fields: dict[int, list[Any]] = {}
    for field, value in _pairs(data):
        fields.setdefault(field, []).append(value)
    return fields


def _pairs(data: bytes) -> Iterator[tuple[int, Any]]:
    """Yield number and value of each field of a protobuf message."""
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        if key & 7 == VARINT:
            value, at = _varint(data, at)
            yield key >> 3, value
            continue
        size = 8 if key & 7 == FIXED64 else 4
        if key & 7 == BYTES:
            size, at = _varint(data, at)
        yield key >> 3, data[at : at + size]
        at += size


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """Return a number of variable length, and where the next value begins."""
    value = shift = 0
    while data[at] & 128:
        value, shift, at = value | (data[at] & 127) << shift, shift + 7, at + 1
    return value | data[at] << shift, at + 1

"""TensorFlow.js: model.json, and the shards beside it that hold the weights.

A layers-model has Keras's configuration and Keras's names. A graph-model has TensorFlow's nodes, in
which the converter has usually folded batch norm.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from backnorm.convert.files._budget import OVERHEAD
from backnorm.convert.files._content import InMemory
from backnorm.convert.files._flat import find_layers, spellings_of
from backnorm.convert.files._regular import beside, read_regular
from backnorm.convert.files._slots import Slot, array_in
from backnorm.convert.files.keras._config import with_told_options
from backnorm.convert.files.keras._hdf5 import json_of
from backnorm.convert.files.record import ModelFile
from backnorm.convert.files.registry import Format, register
from backnorm.convert.files.tensorflow._graph import folded_in, norms_of
from backnorm.errors import FileError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from backnorm._types import AnyArray
    from backnorm.convert.files._budget import Budget, Source

__all__ = ["FORMAT"]

DTYPES: Final = {
    "float32": "<f4",
    "float16": "<f2",
    "int32": "<i4",
    "uint8": "u1",
    "uint16": "<u2",
    "bool": "?",
    "complex64": "<c8",
}

QUANTIZED: Final = ("uint8", "uint16", "float16")
"""What weights may be stored as; whole numbers have a scale and a least value beside them."""


@dataclass(frozen=True, slots=True)
class _Weight:
    """An entry of the manifest."""

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype
    scale: float | None
    least: float


def read(source: Source) -> ModelFile:
    """Read the layers and all other arrays of a model."""
    path = source.path
    document = json_of(path.name, "", source.data)
    arrays = dict(_arrays(source, document.get("weightsManifest")))
    topology = document.get("modelTopology")
    if not isinstance(topology, dict):
        raise FileError.malformed(path.name, "modelTopology", "be an object", _kind(topology))
    if "node" in topology:
        layers, taken, notes = norms_of(path.name, topology, arrays)
        others = {name: array for name, array in arrays.items() if name not in taken}
        folded = "" if layers else folded_in(topology)
        return ModelFile(path, "tfjs", layers, others, notes, folded=folded)
    config = topology.get("model_config", topology)
    named = find_layers(arrays, spellings_of("keras"))
    layers = with_told_options(path.name, named.layers, config if isinstance(config, dict) else {})
    return ModelFile(path, "tfjs", layers, named.others)


def _kind(value: Any) -> str:
    return type(value).__name__


def _arrays(source: Source, manifest: Any) -> Iterator[tuple[str, AnyArray]]:
    """Yield all weights, which follow each other in the shards of a group."""
    file, names = source.path.name, Counter[str]()
    for group in _objects(file, "weightsManifest", manifest):
        paths = group.get("paths")
        if not isinstance(paths, list) or not all(isinstance(path, str) for path in paths):
            raise FileError.malformed(file, "weightsManifest, paths", "be names", _kind(paths))
        shards = InMemory(b"".join(_shard(source, path) for path in paths))
        at = 0
        for entry in _objects(file, "weightsManifest, weights", group.get("weights")):
            weight = _weight(file, entry)
            end = at + math.prod(weight.shape) * weight.dtype.itemsize
            if end > len(shards):
                raise FileError.truncated(file, weight.name, end - at, max(len(shards) - at, 0))
            names[weight.name] += 1
            if names[weight.name] > 1:
                raise FileError.malformed(file, weight.name, "be one weight", "two of that name")
            yield weight.name, _values(source.budget, shards, weight, (at, end))
            at = end


def _objects(file: str, place: str, entries: Any) -> list[dict[str, Any]]:
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise FileError.malformed(file, place, "be a list of objects", _kind(entries))
    return entries


def _shard(source: Source, name: str) -> bytes:
    data = read_regular(beside(source.path, "weightsManifest, paths", name))
    source.budget.grow(len(data))
    source.budget.take(name, len(data) + OVERHEAD)
    return data


def _weight(file: str, entry: dict[str, Any]) -> _Weight:
    name, dtype = entry.get("name"), entry.get("dtype")
    shape: Any = entry.get("shape")
    lengths = isinstance(shape, list) and all(type(n) is int and n >= 0 for n in shape)
    if not isinstance(name, str) or not lengths:
        raise FileError.malformed(
            file, "weightsManifest, weights", "have names and shapes", str(entry)[:60]
        )
    quantization = entry.get("quantization")
    scale, least = None, 0.0
    if isinstance(quantization, dict):
        dtype = quantization.get("dtype")
        if dtype not in QUANTIZED:
            raise FileError.unknown_dtype(file, name, dtype, QUANTIZED)
        if dtype != "float16":
            scale, least = (_number(file, name, quantization.get(k)) for k in ("scale", "min"))
    if not isinstance(dtype, str) or dtype not in DTYPES:
        raise FileError.unknown_dtype(file, name, dtype, DTYPES)
    return _Weight(name, tuple(shape), np.dtype(DTYPES[dtype]), scale, least)


def _number(file: str, name: str, value: Any) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool) or abs(value) > 1e300:  # noqa: PLR2004
        raise FileError.malformed(file, f"{name}, quantization", "have numbers", repr(value)[:40])
    return float(value)


def _values(budget: Budget, shards: InMemory, weight: _Weight, piece: tuple[int, int]) -> AnyArray:
    """Return the values of a weight: value = stored*scale + least where it is quantized."""
    array = array_in(budget, weight.name, shards, Slot(weight.dtype, weight.shape, (piece,)))
    if weight.dtype == np.float16 or weight.scale is not None:
        budget.take(weight.name, 4 * array.size)
    if weight.scale is not None:
        with np.errstate(over="ignore", invalid="ignore"):
            return (array * weight.scale + weight.least).astype(np.float32)
    return array.astype(np.float32) if weight.dtype == np.float16 else array


FORMAT: Final = Format("tfjs", ("keras",), read, None, makes_new=False)

register(FORMAT)

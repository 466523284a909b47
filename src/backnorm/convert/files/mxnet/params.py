"""MXNet: .params, with the -symbol.json beside it where there is one.

A list of dense arrays, a header before each, and then their names. Whether the names follow MXNet's
symbols or Gluon is told from the names themselves.
"""

from __future__ import annotations

import math
import struct
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import numpy as np

from backnorm.convert.files._budget import OVERHEAD
from backnorm.convert.files._content import InMemory
from backnorm.convert.files._dtypes import dtype_named
from backnorm.convert.files._flat import SortedArrays, find_layers, spelled, spellings_of
from backnorm.convert.files._holds import Holds
from backnorm.convert.files._notes import grouped
from backnorm.convert.files._slots import Slot, Slots, array_in, write_over
from backnorm.convert.files.mxnet._kernels import kernels_of
from backnorm.convert.files.mxnet._symbol import norms_of, symbol_beside, symbol_of
from backnorm.convert.files.record import ESTIMATOR, ModelFile, NormLayer
from backnorm.convert.files.registry import Format, register
from backnorm.errors import FileError

if TYPE_CHECKING:
    from backnorm._types import AnyArray
    from backnorm.convert.files._budget import Budget, Source
    from backnorm.convert.files.mxnet._symbol import Node

__all__ = ["FORMAT"]

LIST_MAGIC: Final = 0x112
V1, V2, V3 = 0xF993FAC8, 0xF993FAC9, 0xF993FACA
"""The first number of an array. Any other number counts the axes, as in the first versions."""

DTYPES: Final = {
    0: "float32",
    1: "float64",
    2: "float16",
    3: "uint8",
    4: "int32",
    5: "int8",
    6: "int64",
    7: "bool",
    12: "bfloat16",
}
"""MXNet's number for each type."""

MOST_AXES: Final = 32

HOLDS: Final = Holds(dtypes=tuple(DTYPES.values()), axes=MOST_AXES)

GLUON_DEFAULTS: Final = {"eps": 1e-5, "fix_gamma": False}
"""What ``gluon.nn.BatchNorm`` passes to the operator in place of the operator's defaults."""


class _Cursor:
    """Numbers one after the other, as long as there are any."""

    def __init__(self, file: str, data: bytes) -> None:
        self.file, self.data, self.at = file, data, 0

    def take(self, layout: str, place: str) -> tuple[int, ...]:
        """Unpack some numbers."""
        size = struct.calcsize(f"<{layout}")
        values = struct.unpack_from(f"<{layout}", self.data, self.skip(size, place))
        return tuple(int(value) for value in values)

    def skip(self, size: int, place: str) -> int:
        """Pass over some bytes, and return where they begin."""
        left = len(self.data) - self.at
        if size > left:
            raise FileError.truncated(self.file, place, size, left)
        self.at += size
        return self.at - size


def read(source: Source) -> ModelFile:
    """Read the arrays of a .params file, and the layers among them."""
    path, data = source.path, source.data
    slots = _slots(_Cursor(path.name, data), source.budget)
    content = InMemory(data)
    arrays = {name: array_in(source.budget, name, content, slot) for name, slot in slots.items()}
    beside = source.net or symbol_beside(path)
    notes: tuple[str, ...] = ()
    if source.net is not None or beside.is_file():
        symbol = symbol_of(beside)
        by_name = _by_symbol(path.name, arrays, norms_of(beside.name, symbol))
        kernels = kernels_of(symbol, by_name.others)
    else:
        by_name, notes = _by_names(arrays, beside.name)
        kernels = by_name.kernels
    ordered = source.net is not None or beside.is_file()
    places = {where: slots[key] for where, key in by_name.keys.items()}
    inside = Slots(content, places)
    return ModelFile(path, "mxnet", by_name.layers, by_name.others, notes, inside, kernels, ordered)


def _slots(cursor: _Cursor, budget: Budget) -> dict[str, Slot]:
    magic, _, count = cursor.take("QQQ", "the header")
    if magic != LIST_MAGIC:
        raise FileError.malformed(
            cursor.file, "the header", f"begin with {LIST_MAGIC:#x}", f"{magic:#x}"
        )
    if count > len(cursor.data):
        raise FileError.too_large(cursor.file, "the header", count, len(cursor.data))
    budget.take("the header", count * OVERHEAD)
    slots = [_slot(cursor, f"array {index}") for index in range(count)]
    (named,) = cursor.take("Q", "the names")
    if named not in (0, count):
        raise FileError.malformed(cursor.file, "the names", f"be {count}", f"{named}")
    names = [_name(cursor, f"name {index}") for index in range(named)]
    names = names or [str(index) for index in range(count)]
    if len(set(names)) < count:
        raise FileError.malformed(cursor.file, "the names", "differ", "the same name twice")
    return dict(zip(names, slots, strict=True))


def _name(cursor: _Cursor, place: str) -> str:
    (length,) = cursor.take("Q", place)
    start = cursor.skip(length, place)
    try:
        return cursor.data[start : start + length].decode()
    except UnicodeDecodeError as error:
        raise FileError.malformed(cursor.file, place, "be UTF-8 text", error.reason) from error


def _slot(cursor: _Cursor, place: str) -> Slot:
    (magic,) = cursor.take("I", place)
    if magic in (V2, V3):
        (storage,) = cursor.take("i", place)
        if storage != 0:
            raise FileError.malformed(cursor.file, place, "be dense", f"storage type {storage}")
    shape = _shape(cursor, place, magic)
    if not shape and magic != V3:  # MXNet writes nothing more of an array without values
        return Slot(np.dtype("<f4"), (0,), ())
    cursor.take("ii", place)  # the device it was on
    (number,) = cursor.take("i", place)
    if number not in DTYPES:
        raise FileError.unknown_dtype(cursor.file, place, number, DTYPES.values())
    dtype = dtype_named(DTYPES[number]).newbyteorder("<")
    size = math.prod(shape) * dtype.itemsize
    left = len(cursor.data) - cursor.at
    if size > left:
        raise FileError.too_large(cursor.file, place, size, left)
    start = cursor.skip(size, place)
    return Slot(dtype, shape, ((start, start + size),))


def _shape(cursor: _Cursor, place: str, magic: int) -> tuple[int, ...]:
    wide = magic in (V1, V2, V3)
    axes = cursor.take("i", place)[0] if wide else magic
    if not 0 <= axes <= MOST_AXES:
        raise FileError.malformed(cursor.file, place, f"have 0 to {MOST_AXES} axes", f"{axes}")
    shape = cursor.take(f"{axes}{'q' if wide else 'I'}", place)
    if any(length < 0 for length in shape):
        raise FileError.malformed(cursor.file, place, "have lengths of 0 or more", f"{shape}")
    return shape


def _by_names(arrays: dict[str, AnyArray], symbol: str) -> tuple[SortedArrays, tuple[str, ...]]:
    """Go by the names alone; say which options that leaves open."""
    by_name = find_layers(arrays, spellings_of("mxnet"))
    layers = []
    notes = []
    for layer in by_name.layers:
        gluon = "running" in by_name.keys[layer.name, "moving_mean"]
        layers.append(replace(layer, options=GLUON_DEFAULTS if gluon else {}))
        whose = "Gluon's defaults" if gluon else "the defaults of MXNet's operator"
        notes.append((layer.name, f"no {symbol} beside, so {whose} are assumed"))
    return replace(by_name, layers=tuple(layers)), grouped(notes)


def _by_symbol(file: str, arrays: dict[str, AnyArray], nodes: list[Node]) -> SortedArrays:
    """Go by the network: its names are those of the file but for ``arg:`` and ``aux:``."""
    plain = {name.removeprefix("arg:").removeprefix("aux:"): name for name in arrays}
    keys: dict[tuple[str, str], str] = {}
    layers = []
    for node in nodes:
        for field, parameter in node.parameters.items():
            if parameter not in plain:
                place = f"layer {node.name}, {field}"
                raise FileError.missing_array(file, place, sorted(plain)[:8])
            keys[node.name, field] = plain[parameter]
        state = {field: arrays[keys[node.name, field]] for field in node.parameters}
        layers.append(NormLayer(node.name, "mxnet", state, node.options, (ESTIMATOR,)))
    taken = set(keys.values())
    others = {name: array for name, array in arrays.items() if name not in taken}
    return SortedArrays(tuple(layers), keys, others)


def write(model: ModelFile) -> bytes:
    """Write over the file that was read, or make one with Gluon's names."""
    if isinstance(model.content, Slots):
        return write_over(model, model.content)
    arrays = spelled(model, HOLDS)
    parts = [struct.pack("<QQQ", LIST_MAGIC, 0, len(arrays))]
    parts += [_array(array) for array in arrays.values()]
    parts.append(struct.pack("<Q", len(arrays)))
    for name in arrays:
        parts.append(struct.pack("<Q", len(name.encode())) + name.encode())
    return b"".join(parts)


def _array(array: AnyArray) -> bytes:
    """Write one dense array; one without axes as V3, in which only that can be."""
    numbers = {name: number for number, name in DTYPES.items()}
    magic = V2 if array.ndim else V3
    head = struct.pack(f"<Iii{array.ndim}q", magic, 0, array.ndim, *array.shape)
    kind = struct.pack("<iii", 1, 0, numbers[array.dtype.name])
    return head + kind + array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()


FORMAT: Final = Format("mxnet", ("mxnet",), read, write, has_net=True)

register(FORMAT)

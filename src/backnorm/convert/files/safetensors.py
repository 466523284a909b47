"""Safetensors: .safetensors, with the names of whichever framework the arrays came from.

A header in JSON and then the values. The library checks it; the values are read, and written over,
where they lie.
"""

from __future__ import annotations

import json
import struct
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import safetensors
from safetensors.numpy import save

from backnorm.convert.files._dtypes import dtype_named
from backnorm.convert.files._flat import DIALECTS, find_layers, spelled
from backnorm.convert.files._guard import guard
from backnorm.convert.files._slots import Slot, Slots, array_in, write_over
from backnorm.convert.files.record import ModelFile
from backnorm.convert.files.registry import Format, register
from backnorm.errors import FileError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["FORMAT"]

DTYPES: Final = {
    "BOOL": "bool",
    "U8": "uint8",
    "I8": "int8",
    "U16": "uint16",
    "I16": "int16",
    "U32": "uint32",
    "I32": "int32",
    "U64": "uint64",
    "I64": "int64",
    "F16": "float16",
    "BF16": "bfloat16",
    "F32": "float32",
    "F64": "float64",
    "C64": "complex64",
    "F8_E4M3": "float8_e4m3fn",
    "F8_E5M2": "float8_e5m2",
}
"""The header's name for each type."""

METADATA: Final = "__metadata__"
"""The entry of the header that describes the file and not an array."""

PYTORCH: Final = {"format": "pt"}
"""What libraries that load PyTorch's models ask the header for."""


def read(path: Path, data: bytes, net: Path | None) -> ModelFile:  # noqa: ARG001 - no net here
    """Read all arrays of a .safetensors file, and the layers among them."""
    with guard(path.name, "safetensors"):
        safetensors.deserialize(data)  # type: ignore[no-untyped-call]
    (length,) = struct.unpack_from("<Q", data)
    header = json.loads(data[8 : 8 + length])
    header.pop(METADATA, None)
    slots = {name: _slot(path.name, name, entry, 8 + length) for name, entry in header.items()}
    arrays = {name: array_in(path.name, name, data, slot) for name, slot in slots.items()}
    by_name = find_layers(arrays)
    places = {where: slots[key] for where, key in by_name.keys.items()}
    return ModelFile(path, "safetensors", by_name.layers, by_name.others, (), Slots(data, places))


def _slot(file: str, name: str, entry: dict[str, Any], base: int) -> Slot:
    if entry["dtype"] not in DTYPES:
        raise FileError.unknown_dtype(file, name, entry["dtype"], DTYPES)
    start, end = entry["data_offsets"]
    dtype = dtype_named(DTYPES[entry["dtype"]]).newbyteorder("<")
    return Slot(dtype, tuple(entry["shape"]), ((base + start, base + end),))


def write(model: ModelFile) -> bytes:
    """Write over the file that was read, or make a new one."""
    if isinstance(model.content, Slots):
        return write_over(model, model.content)
    arrays = spelled(model)
    for name, array in arrays.items():
        if array.dtype.name not in DTYPES.values():
            raise FileError.unknown_dtype(model.path.name, name, array.dtype, DTYPES.values())
    whole = {name: np.array(array, order="C") for name, array in arrays.items()}
    return save(whole, PYTORCH if {layer.dialect for layer in model.layers} <= {"torch"} else None)


FORMAT: Final = Format("safetensors", DIALECTS, read, write)

register(FORMAT)

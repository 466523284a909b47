"""Safetensors: .safetensors, with the names of whichever framework the arrays came from.

A header in JSON and then the values. The values are read, and written over, where they lie.
"""

from __future__ import annotations

import json
import struct
from typing import TYPE_CHECKING, Any, Final

from safetensors.numpy import save

from backnorm.convert.files._dtypes import dtype_named
from backnorm.convert.files._flat import DIALECTS, find_layers, spelled
from backnorm.convert.files._guard import guard
from backnorm.convert.files._holds import Holds, distinct
from backnorm.convert.files._slots import Slot, Slots, arrays_in, write_over
from backnorm.convert.files.folding._state import fold_state
from backnorm.convert.files.record import ModelFile
from backnorm.convert.files.registry import Format, register
from backnorm.errors import FileError

if TYPE_CHECKING:
    from backnorm.convert.files._budget import Source
    from backnorm.convert.files._content import Content

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

LENGTH: Final = 8
"""Bytes of the header's length, which come first."""

LONGEST_HEADER: Final = 100_000_000
"""The library's own limit."""

METADATA: Final = "__metadata__"
"""The entry of the header that describes the file and not an array."""

HOLDS: Final = Holds(dtypes=tuple(DTYPES.values()), reserved=(METADATA,))

PYTORCH: Final = {"format": "pt"}
"""What libraries that load PyTorch's models ask the header for."""


def read(source: Source) -> ModelFile:
    """Read all arrays of a .safetensors file, and the layers among them.

    The library would read all values to check the header, so its rules are checked here: one entry
    a name, and values that follow each other without a gap up to the end of the file.
    """
    file, content = source.path.name, source.content
    header, base = _header(file, content)
    slots = {name: _slot(file, name, entry, base) for name, entry in header.items()}
    _check_order(file, slots, base, len(content))
    by_name = find_layers(arrays_in(source.budget, content, slots))
    places = {where: slots[key] for where, key in by_name.keys.items()}
    layers, others = by_name.layers, by_name.others
    slots_in_file = Slots(content, places)
    return ModelFile(
        source.path,
        "safetensors",
        layers,
        others,
        (),
        slots_in_file,
        by_name.kernels,
        ordered=False,
    )


def _header(file: str, content: Content) -> tuple[dict[str, Any], int]:
    """Return the header's entries, and where the values begin."""
    first = bytes(content.part(0, LENGTH))
    if len(first) < LENGTH:
        raise FileError.truncated(file, "the header", LENGTH, len(first))
    (length,) = struct.unpack("<Q", first)
    base = LENGTH + length
    if length > LONGEST_HEADER or base > len(content):
        raise FileError.too_large(file, "the header", length, len(content) - LENGTH)

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        return distinct(file, pairs)

    with guard(file, "json"):
        header = json.loads(bytes(content.part(LENGTH, base)), object_pairs_hook=once)
    if not isinstance(header, dict):
        raise FileError.malformed(file, "the header", "be an object", type(header).__name__)
    header.pop(METADATA, None)
    return header, base


def _slot(file: str, name: str, entry: Any, base: int) -> Slot:
    parts: dict[str, Any] = entry if isinstance(entry, dict) else {}
    shape: Any = parts.get("shape")
    offsets: Any = parts.get("data_offsets")
    if not _lengths(shape) or not _lengths(offsets) or len(offsets) != 2:  # noqa: PLR2004
        got = json.dumps(entry)[:60]
        raise FileError.malformed(file, name, "have a shape and two offsets", got)
    if parts.get("dtype") not in list(DTYPES):
        raise FileError.unknown_dtype(file, name, parts.get("dtype"), DTYPES)
    dtype = dtype_named(DTYPES[parts["dtype"]]).newbyteorder("<")
    return Slot(dtype, tuple(shape), ((base + offsets[0], base + offsets[1]),))


def _lengths(value: Any) -> bool:
    return isinstance(value, list) and all(type(item) is int and item >= 0 for item in value)


def _check_order(file: str, slots: dict[str, Slot], base: int, size: int) -> None:
    at = base
    for name, slot in sorted(slots.items(), key=lambda item: item[1].pieces):
        ((start, end),) = slot.pieces
        if start != at or end < start:
            where = f"begin at byte {at} and end behind it"
            raise FileError.malformed(file, name, where, f"bytes {start} to {end}")
        at = end
    if at > size:
        raise FileError.truncated(file, "the values", at - base, size - base)
    if at < size:
        raise FileError.malformed(file, "the values", f"end at byte {at}", f"{size} bytes")


def write(model: ModelFile) -> bytes:
    """Write over the file that was read, or make a new one."""
    if isinstance(model.content, Slots):
        return write_over(model, model.content)
    arrays = spelled(model, HOLDS)
    metadata = PYTORCH if {layer.dialect for layer in model.layers} <= {"torch"} else None
    with guard(model.path.name, "safetensors"):  # such as names of more than its 100 MB in all
        return save(arrays, metadata)


FORMAT: Final = Format("safetensors", DIALECTS, read, write, fold=fold_state)

register(FORMAT)

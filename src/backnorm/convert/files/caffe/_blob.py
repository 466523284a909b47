"""Caffe's blobs, in all the ways that its files have had of writing them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

import numpy as np

from backnorm.convert.files._slots import Slot
from backnorm.convert.files.caffe._wire import BYTES, FIXED32, FIXED64, VARINT, encode, varint
from backnorm.errors import FileError, WriteError

if TYPE_CHECKING:
    from backnorm._types import AnyArray
    from backnorm.convert.files.caffe._wire import Span, Wire

__all__ = ["as_row", "blob_message", "read_blob"]

LEGACY_SHAPE: Final = (1, 2, 3, 4)
"""``num``, ``channels``, ``height``, ``width``: how a shape was written before ``shape``."""

DATA, SHAPE, DOUBLE_DATA = 5, 7, 8
"""Fields of ``BlobProto``."""

SINGLE: Final = np.dtype("<f4")
DOUBLE: Final = np.dtype("<f8")


def read_blob(wire: Wire, blob: Span, place: str) -> Slot:
    """Find out where a blob's values lie.

    Parameters
    ----------
    wire
        The file.
    blob
        The ``BlobProto`` in it.
    place
        For messages.

    Returns
    -------
    Slot
        Float32 where there is ``data``, float64 where there is ``double_data``.

    Raises
    ------
    FileError
        If it is written in another way, such as as raw bytes.
    """
    wire.expect(blob, BYTES, place)
    legacy: dict[int, int] = {}
    shape: tuple[int, ...] | None = None
    pieces: dict[int, list[tuple[int, int]]] = {DATA: [], DOUBLE_DATA: []}
    for span in wire.fields(blob.start, blob.end, place):
        if span.number in LEGACY_SHAPE:
            wire.expect(span, VARINT, place)
            legacy[span.number] = span.value
        elif span.number == SHAPE:
            shape = _shape(wire, span, place)
        elif span.number in pieces:
            if span.wire not in (BYTES, FIXED64 if span.number == DOUBLE_DATA else FIXED32):
                raise FileError.malformed(wire.file, place, "hold numbers", f"wire {span.wire}")
            pieces[span.number].append((span.start, span.end))
    wide = bool(pieces[DOUBLE_DATA])
    if shape is None:
        shape = tuple(legacy.get(number, 1) for number in LEGACY_SHAPE)
    dtype = DOUBLE if wide else SINGLE
    there = tuple(pieces[DOUBLE_DATA if wide else DATA])
    if any((end - start) % dtype.itemsize for start, end in there):
        raise FileError.malformed(wire.file, place, f"hold whole {dtype.name} values", "a part")
    return Slot(dtype, shape, there)


def as_row(slot: Slot) -> Slot:
    """Return a slot as one axis if all other axes have length 1, such as (1, C, 1, 1)."""
    long = [length for length in slot.shape if length != 1]
    return replace(slot, shape=tuple(long)) if len(long) == 1 else slot


def _shape(wire: Wire, shape: Span, place: str) -> tuple[int, ...]:
    """Read a ``BlobShape``: its lengths one by one, or packed."""
    wire.expect(shape, BYTES, place)
    lengths = []
    for span in wire.fields(shape.start, shape.end, place):
        if span.number == 1 and span.wire == BYTES:
            lengths += list(wire.varints(span.start, span.end, place))
        elif span.number == 1:
            wire.expect(span, VARINT, place)
            lengths.append(span.value)
    return tuple(lengths)


def blob_message(file: str, place: str, array: AnyArray) -> bytes:
    """Write an array as a ``BlobProto``: float64 as it is, all else as float32.

    Parameters
    ----------
    file, place
        For messages.
    array
        Real numbers; whole numbers have to be such as float32 can hold.

    Returns
    -------
    bytes
        The message.

    Raises
    ------
    FileError
        If float32 cannot hold the values.
    """
    wide = array.dtype == np.float64
    with np.errstate(all="ignore"):
        values = array.astype(DOUBLE if wide else SINGLE)
    same = array.size == 0 or np.array_equal(
        values.astype(np.float64), array.astype(np.float64), equal_nan=True
    )
    if not same:
        raise WriteError.unwritable_dtype(file, place, array.dtype, ("float32", "float64"))
    shape = encode(SHAPE, encode(1, b"".join(varint(length) for length in array.shape)))
    return encode(DOUBLE_DATA if wide else DATA, values.tobytes()) + shape

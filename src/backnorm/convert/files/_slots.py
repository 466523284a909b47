"""Where arrays lie in a file's bytes: read there, and written over, with all else left as it is."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from backnorm.errors import FileError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from backnorm._types import AnyArray
    from backnorm.convert.files.record import ModelFile

__all__ = ["Slot", "Slots", "array_in", "stored", "write_over"]


@dataclass(frozen=True, slots=True)
class Slot:
    """Where one array lies.

    Attributes
    ----------
    dtype
        Its dtype, with the order of its bytes.
    shape
        Its shape.
    pieces
        First and last offset of each piece; together they hold all values, in C order.
    """

    dtype: np.dtype
    shape: tuple[int, ...]
    pieces: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True, eq=False)
class Slots:
    """A file's bytes, and where in them the layers' arrays lie.

    Attributes
    ----------
    data
        All bytes.
    places
        By the layer's name and the field.
    """

    data: bytes
    places: Mapping[tuple[str, str], Slot]


def array_in(file: str, place: str, data: bytes, slot: Slot) -> AnyArray:
    """Return the array in a slot, read-only, without a copy where it lies in one piece.

    Parameters
    ----------
    file, place
        For messages.
    data
        The file's bytes.
    slot
        Where it lies.

    Returns
    -------
    numpy.ndarray
        With its shape and dtype, in the machine's order of bytes.

    Raises
    ------
    FileError
        If the shape needs more bytes, or fewer, than the slot has.
    """
    there = sum(end - start for start, end in slot.pieces)
    claimed = math.prod(slot.shape) * slot.dtype.itemsize
    if claimed > there:
        raise FileError.too_large(file, place, claimed, there)
    if claimed < there or any(length < 0 for length in slot.shape):
        shape = f"bytes for {there // slot.dtype.itemsize}"
        raise FileError.malformed(file, place, f"hold values for shape {slot.shape}", shape)
    flat = [
        np.frombuffer(data, slot.dtype, (end - start) // slot.dtype.itemsize, start)
        for start, end in slot.pieces
    ]
    whole = flat[0] if len(flat) == 1 else np.concatenate([np.empty(0, slot.dtype), *flat])
    return whole.reshape(slot.shape).astype(slot.dtype.newbyteorder("="), copy=False)


def write_over(model: ModelFile, slots: Slots) -> bytes:
    """Return the file's bytes with the layers' arrays in their places.

    Parameters
    ----------
    model
        The model, with the layers to write.
    slots
        The bytes it was read from.

    Returns
    -------
    bytes
        As many as before.

    Raises
    ------
    FileError
        If an array has no place, or does not fit in it.
    """
    data = bytearray(slots.data)
    for layer in model.layers:
        for field, array in layer.state.items():
            place = f"layer {layer.name}, {field}"
            slot = slots.places.get((layer.name, field))
            if slot is None:
                raise FileError.no_room(model.path.name, place, "an array that was not there")
            content = stored(model.path.name, place, array, slot.dtype, slot.shape)
            at = 0
            for start, end in slot.pieces:
                data[start:end] = content[at : at + end - start]
                at += end - start
    return bytes(data)


def stored(file: str, place: str, array: AnyArray, dtype: np.dtype, shape: Sequence[int]) -> bytes:
    """Return an array as bytes in the dtype that the file has.

    Parameters
    ----------
    file, place
        For messages.
    array
        The values.
    dtype, shape
        Those of the array in the file.

    Returns
    -------
    bytes
        In C order.

    Raises
    ------
    FileError
        If the shape differs, or a value is too large for the dtype.
    """
    if array.size != math.prod(shape):
        raise FileError.no_room(file, place, f"{array.size} values for {math.prod(shape)}")
    with np.errstate(over="ignore", invalid="ignore"):
        narrow = np.asarray(array).astype(dtype)
        infinite = [np.isinf(values.astype(np.float64)).sum() for values in (array, narrow)]
    if infinite[1] > infinite[0]:
        raise FileError.no_room(file, place, f"values too large for {dtype.name}")
    return narrow.tobytes()

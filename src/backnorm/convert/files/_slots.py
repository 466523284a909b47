"""Where arrays lie in a file's bytes: read there, and written over, with all else left as it is."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from backnorm.convert.files._arrays import Arrays
from backnorm.convert.files._budget import OVERHEAD
from backnorm.convert.files._guard import guard
from backnorm.errors import FileError, WriteError
from backnorm.errors.base import place_in

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from backnorm._types import AnyArray
    from backnorm.convert.files._budget import Budget
    from backnorm.convert.files._content import Content
    from backnorm.convert.files.record import ModelFile

__all__ = [
    "Slot",
    "Slots",
    "array_in",
    "arrays_in",
    "check_slot",
    "stored",
    "values_in",
    "write_over",
]


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
    """A file's content, and where in it the layers' arrays lie.

    Attributes
    ----------
    content
        All bytes.
    places
        By the layer's name and the field.
    others
        Where the other arrays lie that are written over too, by their names; none where they are
        those that were read.
    """

    content: Content
    places: Mapping[tuple[str, str], Slot]
    others: Mapping[str, Slot] = field(default_factory=dict)


def check_slot(budget: Budget, place: str, slot: Slot) -> None:
    """Refuse a slot that does not have the bytes for its shape, before they are read.

    Parameters
    ----------
    budget
        The bytes that the file may become; a copy takes some.
    place
        For messages.
    slot
        Where the array lies.

    Raises
    ------
    FileError
        If the shape needs more bytes, or fewer, than the slot has, or a copy more than are left.
    """
    file = budget.file
    there = sum(end - start for start, end in slot.pieces)
    claimed = math.prod(slot.shape) * slot.dtype.itemsize
    if claimed > there:
        raise FileError.too_large(file, place, claimed, there)
    if claimed < there or any(length < 0 for length in slot.shape):
        shape = f"bytes for {there // max(slot.dtype.itemsize, 1)}"
        raise FileError.malformed(file, place, f"hold values for shape {slot.shape}", shape)
    copied = claimed * ((slot.dtype.newbyteorder("=") != slot.dtype) + (len(slot.pieces) > 1))
    budget.take(place, OVERHEAD * (1 + len(slot.pieces)) + copied)


def values_in(file: str, place: str, content: Content, slot: Slot) -> AnyArray:
    """Return the array in a slot that was checked; see `array_in`."""
    native = slot.dtype.newbyteorder("=")
    with guard(place_in(file, place), "numpy"):  # such as too many axes, or lengths beside a 0
        flat = [
            np.frombuffer(content.part(start, end), slot.dtype)
            if end > start
            else np.empty(0, slot.dtype)
            for start, end in slot.pieces
        ]
        whole = flat[0] if len(flat) == 1 else np.concatenate([np.empty(0, slot.dtype), *flat])
        return whole.reshape(slot.shape).astype(native, copy=False)


def array_in(budget: Budget, place: str, content: Content, slot: Slot) -> AnyArray:
    """Return the array in a slot, read-only, without a copy where it lies in one piece in memory.

    Parameters
    ----------
    budget
        The bytes that the file may become; a copy takes some.
    place
        For messages.
    content
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
        If the shape needs more bytes, or fewer, than the slot has, or a copy more than are left.
    """
    check_slot(budget, place, slot)
    return values_in(budget.file, place, content, slot)


def arrays_in(budget: Budget, content: Content, slots: Mapping[str, Slot]) -> Arrays:
    """Return the arrays in slots, which are checked now and read when they are asked for.

    Parameters
    ----------
    budget
        The bytes that the file may become.
    content
        The file's bytes.
    slots
        Where each array lies, by its name.

    Returns
    -------
    Arrays
        By the same names.

    Raises
    ------
    FileError
        As for `array_in`.
    """
    for name, slot in slots.items():
        check_slot(budget, name, slot)

    def read(name: str) -> AnyArray:
        return values_in(budget.file, name, content, slots[name])

    return Arrays({name: slot.shape for name, slot in slots.items()}, read)


def write_over(model: ModelFile, slots: Slots) -> bytes:
    """Return the file's bytes with arrays in their places.

    Parameters
    ----------
    model
        The model, with the arrays to write.
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
    data = bytearray(slots.content.whole())
    wanted = [
        (f"layer {layer.name}, {name}", array, slots.places.get((layer.name, name)))
        for layer in model.layers
        for name, array in layer.state.items()
    ]
    wanted += [(name, model.others[name], slot) for name, slot in slots.others.items()]
    for place, array, slot in wanted:
        if slot is None:
            raise WriteError.no_room(model.path.name, place, "an array that was not there")
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
        raise WriteError.no_room(file, place, f"{array.size} values for {math.prod(shape)}")
    with np.errstate(over="ignore", invalid="ignore"):
        narrow = np.asarray(array).astype(dtype)
        infinite = [np.isinf(values.astype(np.float64)).sum() for values in (array, narrow)]
    if infinite[1] > infinite[0]:
        raise WriteError.no_room(file, place, f"values too large for {dtype.name}")
    return narrow.tobytes()

"""NumPy: .npz, with the names of whichever framework the arrays came from."""

from __future__ import annotations

import io
import zipfile
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from numpy.lib import format as npy

from backnorm.convert.files import _zip
from backnorm.convert.files._arrays import Arrays
from backnorm.convert.files._content import InMemory
from backnorm.convert.files._flat import DIALECTS, find_layers, spelled
from backnorm.convert.files._guard import guard
from backnorm.convert.files._holds import NUMBERS, Holds
from backnorm.convert.files._slots import Slot, check_slot, stored, values_in
from backnorm.convert.files.folding._state import fold_state
from backnorm.convert.files.record import ModelFile
from backnorm.convert.files.registry import Format, register
from backnorm.errors import FileError, WriteError
from backnorm.errors.base import place_in

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np

    from backnorm._types import AnyArray
    from backnorm.convert.files._budget import Budget, Source
    from backnorm.convert.files._content import Content

__all__ = ["FORMAT"]

ENDING: Final = ".npy"

HOLDS: Final = Holds(
    kinds=NUMBERS + "SUMmV", widens=True, forbidden="\0", longest=_zip.LONGEST_NAME - len(ENDING)
)
"""zipfile ends a name at a NUL."""

LONGEST_HEADER: Final = 10_000
"""NumPy's own limit for files that are not trusted."""

MAGIC: Final = 12
"""Bytes before a header: what tells the format, its version, and the header's length."""


@dataclass(frozen=True, slots=True, eq=False)
class _NpzArchive:
    """The content that was read, and the member that each layer's array came from."""

    content: Content
    keys: Mapping[tuple[str, str], str]


def read(source: Source) -> ModelFile:
    """Read all arrays of an .npz file, and the layers among them.

    The headers are read first, which tell the shapes; a member's values are read when they are
    asked for.
    """
    budget, archive = source.budget, _zip.opened(source.budget, source.content)
    slots = {}
    for member in archive.namelist():
        if member.endswith(ENDING):
            slots[member.removesuffix(ENDING)] = _slot(budget, archive, member)

    def values(name: str) -> AnyArray:
        slot, fortran = slots[name]
        with guard(place_in(budget.file, name + ENDING), "zipfile"):
            content = archive.read(name + ENDING)
        array = values_in(budget.file, name + ENDING, InMemory(content), slot)
        return array.T if fortran else array

    shapes = {
        n: slot.shape[::-1] if fortran else slot.shape for n, (slot, fortran) in slots.items()
    }
    by_name = find_layers(Arrays(shapes, values))
    layers, others = by_name.layers, by_name.others
    content = _NpzArchive(source.content, by_name.keys)
    return ModelFile(
        source.path, "npz", layers, others, (), content, by_name.kernels, ordered=False
    )


def _slot(budget: Budget, archive: zipfile.ZipFile, member: str) -> tuple[Slot, bool]:
    """Read the header of an array that needs no pickle: where its values lie in the member."""
    with guard(budget.file, "zipfile"), archive.open(member) as stream:
        head = io.BytesIO(stream.read(LONGEST_HEADER + MAGIC))
    with guard(budget.file, "numpy"):
        shape, fortran, dtype = _header(head)
    if dtype.hasobject:
        raise FileError.runs_code(budget.file, member, f"an array of {dtype}")
    size = archive.getinfo(member).file_size
    slot = Slot(dtype, shape[::-1] if fortran else shape, ((head.tell(), size),))
    check_slot(budget, member, slot)
    return slot, fortran


def _header(stream: io.BytesIO) -> tuple[Any, bool, np.dtype]:
    version = npy.read_magic(stream)
    read_header = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    return read_header(stream, max_header_size=LONGEST_HEADER)


def write(model: ModelFile) -> bytes:
    """Write over the layers' members of the file that was read, or make a new file."""
    if not isinstance(model.content, _NpzArchive):
        return _new(model)
    data = model.content.content.whole()
    old = _zip.contents(model.path.name, data)
    contents = {}
    for layer in model.layers:
        for field, array in layer.state.items():
            place = f"layer {layer.name}, {field}"
            key = model.content.keys.get((layer.name, field))
            if key is None:
                raise WriteError.no_room(model.path.name, place, "an array that was not there")
            member = key + ENDING
            contents[member] = _over(model.path.name, place, array, old[member])
    return _zip.replaced(data, contents)


def _over(file: str, place: str, array: AnyArray, member: bytes) -> bytes:
    """Keep the header, and write the values behind it."""
    stream = io.BytesIO(member)
    shape, _, dtype = _header(stream)
    return member[: stream.tell()] + stored(file, place, array, dtype, shape)


def _new(model: ModelFile) -> bytes:
    """Write the members one by one: np.savez takes names as arguments, and `file` is its own."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, array in spelled(model, HOLDS).items():
            _zip.check_name(model.path.name, name + ENDING)
            with archive.open(name + ENDING, "w", force_zip64=True) as member:
                npy.write_array(member, array, allow_pickle=False)
    return stream.getvalue()


FORMAT: Final = Format("npz", DIALECTS, read, write, fold=fold_state)

register(FORMAT)

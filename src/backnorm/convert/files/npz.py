"""NumPy: .npz, with the names of whichever framework the arrays came from."""

from __future__ import annotations

import io
import zipfile
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from numpy.lib import format as npy

from backnorm.convert.files import _zip
from backnorm.convert.files._dtypes import widened
from backnorm.convert.files._flat import DIALECTS, find_layers, spelled
from backnorm.convert.files._guard import guard
from backnorm.convert.files._slots import Slot, array_in, stored
from backnorm.convert.files.record import ModelFile
from backnorm.convert.files.registry import Format, register
from backnorm.errors import FileError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import numpy as np

    from backnorm._types import AnyArray

__all__ = ["FORMAT"]

ENDING: Final = ".npy"

LONGEST_HEADER: Final = 10_000
"""NumPy's own limit for files that are not trusted."""


@dataclass(frozen=True, slots=True, eq=False)
class _NpzArchive:
    """The bytes that were read, and the member that each layer's array came from."""

    data: bytes
    keys: Mapping[tuple[str, str], str]


def read(path: Path, data: bytes, net: Path | None) -> ModelFile:  # noqa: ARG001 - no net here
    """Read all arrays of an .npz file, and the layers among them."""
    arrays = {
        name.removesuffix(ENDING): read_npy(path.name, name, content)
        for name, content in _zip.members(path.name, data).items()
        if name.endswith(ENDING)
    }
    by_name = find_layers(arrays)
    content = _NpzArchive(data, by_name.keys)
    return ModelFile(path, "npz", by_name.layers, by_name.others, (), content)


def read_npy(file: str, name: str, content: bytes) -> AnyArray:
    """Read one array, and never one that would need pickle.

    Parameters
    ----------
    file, name
        For messages.
    content
        Header and values.

    Returns
    -------
    numpy.ndarray
        Read-only.

    Raises
    ------
    FileError
        If the header is damaged, or claims other than what follows.
    """
    stream = io.BytesIO(content)
    with guard(file, "numpy"):
        shape, fortran, dtype = _header(stream)
    if dtype.hasobject:
        raise FileError.runs_code(file, name, f"an array of {dtype}")
    slot = Slot(dtype, shape[::-1] if fortran else shape, ((stream.tell(), len(content)),))
    array = array_in(file, name, content, slot)
    return array.T if fortran else array


def _header(stream: io.BytesIO) -> tuple[Any, bool, np.dtype]:
    version = npy.read_magic(stream)
    read_header = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    return read_header(stream, max_header_size=LONGEST_HEADER)


def write(model: ModelFile) -> bytes:
    """Write over the layers' members of the file that was read, or make a new file."""
    if not isinstance(model.content, _NpzArchive):
        return _new(model)
    old = _zip.members(model.path.name, model.content.data)
    contents = {}
    for layer in model.layers:
        for field, array in layer.state.items():
            place = f"layer {layer.name}, {field}"
            key = model.content.keys.get((layer.name, field))
            if key is None:
                raise FileError.no_room(model.path.name, place, "an array that was not there")
            member = key + ENDING
            contents[member] = _over(model.path.name, place, array, old[member])
    return _zip.replaced(model.content.data, contents)


def _over(file: str, place: str, array: AnyArray, member: bytes) -> bytes:
    """Keep the header, and write the values behind it."""
    stream = io.BytesIO(member)
    shape, _, dtype = _header(stream)
    return member[: stream.tell()] + stored(file, place, array, dtype, shape)


def _new(model: ModelFile) -> bytes:
    """Write the members one by one: np.savez takes names as arguments, and `file` is its own."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, array in spelled(model).items():
            if array.dtype.hasobject:
                raise FileError.runs_code(model.path.name, name, f"an array of {array.dtype}")
            _zip.check_name(model.path.name, name + ENDING)
            with archive.open(name + ENDING, "w", force_zip64=True) as member:
                npy.write_array(member, widened(array), allow_pickle=False)
    return stream.getvalue()


FORMAT: Final = Format("npz", DIALECTS, read, write)

register(FORMAT)

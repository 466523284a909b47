"""HDF5 in memory: what can be read from it without following it anywhere."""

from __future__ import annotations

import json
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import h5py

from backnorm.convert.files._guard import guard
from backnorm.convert.files._slots import Slot, array_in
from backnorm.errors import FileError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from backnorm._types import AnyArray

__all__ = ["DEEPEST", "attribute", "json_of", "opened", "read_dataset", "walk"]

DEEPEST: Final = 64
"""Groups in groups; a nested network needs two for each level."""

LARGEST_RATIO: Final = 1032
"""What deflate shrinks at the most."""


@contextmanager
def opened(file: str, data: bytes) -> Iterator[Any]:
    """Open a file that is in memory, read-only.

    Parameters
    ----------
    file
        Its name, for messages.
    data
        Its bytes.

    Yields
    ------
    h5py.File
        The file.
    """
    with guard(file, "h5py"), h5py.File.in_memory(data) as opened_file:
        yield opened_file


def walk(file: str, group: Any) -> Iterator[tuple[str, Any]]:
    """Yield all groups and datasets, in the order of their names, each by its path.

    A link is refused, also one within the file: it could go round in circles, and Keras makes none.
    """
    waiting = [("", group, 0)]
    seen = 0
    while waiting:
        path, parent, depth = waiting.pop()
        if depth > DEEPEST:
            raise FileError.malformed(file, path, f"be nested at most {DEEPEST} deep", "more")
        for name in parent:
            link = parent.get(name, getlink=True)
            here = f"{path}/{name}" if path else name
            if not isinstance(link, h5py.HardLink):
                raise FileError.outside(file, here, type(link).__name__)
            child = parent[name]
            seen += 1
            if seen > MOST_OBJECTS:
                raise FileError.malformed(
                    file, here, f"hold at most {MOST_OBJECTS} objects", "more"
                )
            yield here, child
            if isinstance(child, h5py.Group):
                waiting.append((here, child, depth + 1))


MOST_OBJECTS: Final = 1_000_000
"""Two groups can hold each other; without an end to the count the walk would have none either."""


def read_dataset(file: str, path: str, data: bytes, dataset: Any) -> tuple[AnyArray, Slot | None]:
    """Read an array, and say where it lies if it lies in one piece.

    Parameters
    ----------
    file, path
        For messages.
    data
        The file's bytes.
    dataset
        The dataset of that path.

    Returns
    -------
    tuple of numpy.ndarray and Slot or None
        The array, and its place.

    Raises
    ------
    FileError
        If it lies in another file, claims more than is there, or holds no numbers.
    """
    if dataset.external or dataset.is_virtual:
        raise FileError.outside(file, path, "values kept in another file")
    if dataset.dtype.kind not in "biufc" or dataset.shape is None:
        raise FileError.unknown_dtype(file, path, dataset.dtype, ("float16", "float32", "float64"))
    there = min(int(dataset.id.get_storage_size()), len(data))
    offset = dataset.id.get_offset()
    if dataset.chunks is None and offset is not None:
        slot = Slot(dataset.dtype, dataset.shape, ((offset, min(offset + there, len(data))),))
        return array_in(file, path, data, slot), slot
    claimed = int(dataset.size) * dataset.dtype.itemsize
    if claimed > there * LARGEST_RATIO:
        raise FileError.too_large(file, path, claimed, there)
    return dataset[()], None


def attribute(item: Any, name: str) -> Any:
    """Return an attribute; None where there is none."""
    return item.attrs[name] if name in item.attrs else None  # noqa: SIM401 - get() swallows errors


def json_of(file: str, place: str, text: Any) -> dict[str, Any]:
    """Parse a configuration; it is data, and nothing in it is looked up or run.

    Parameters
    ----------
    file, place
        For messages.
    text
        JSON.

    Returns
    -------
    dict
        The object that it holds.

    Raises
    ------
    FileError
        If it holds something else.
    """
    try:
        value = json.loads(text)
    except (TypeError, ValueError, RecursionError) as error:
        raise FileError.library(file, "json", error) from error
    if not isinstance(value, dict):
        raise FileError.malformed(file, place, "be a JSON object", type(value).__name__)
    return value

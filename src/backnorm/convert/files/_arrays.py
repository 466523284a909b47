"""Named arrays of a file that are read when they are asked for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from backnorm._types import AnyArray

__all__ = ["Arrays", "in_memory", "renamed", "shapes_of", "without"]


class Arrays(Mapping[str, "AnyArray"]):
    """Arrays by name; their shapes are known, their values are read anew each time.

    Parameters
    ----------
    shapes
        Of all arrays.
    read
        Returns the array of a name.
    """

    __slots__ = ("_read", "shapes")

    def __init__(
        self, shapes: Mapping[str, tuple[int, ...]], read: Callable[[str], AnyArray]
    ) -> None:
        self.shapes, self._read = shapes, read

    def __getitem__(self, name: str) -> AnyArray:
        if name not in self.shapes:
            raise KeyError(name)
        return self._read(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self.shapes)

    def __len__(self) -> int:
        return len(self.shapes)


def without(arrays: Mapping[str, AnyArray], names: Collection[str]) -> Mapping[str, AnyArray]:
    """Return all arrays but some, none of which is read for this."""
    if not isinstance(arrays, Arrays):
        return {name: array for name, array in arrays.items() if name not in names}
    shapes = {name: shape for name, shape in arrays.shapes.items() if name not in names}
    return Arrays(shapes, arrays.__getitem__)


def renamed(arrays: Mapping[str, AnyArray], names: Mapping[str, str]) -> Arrays:
    """Return arrays by new names, each with its old one."""
    shapes = shapes_of(arrays)
    return Arrays({new: shapes[old] for new, old in names.items()}, lambda new: arrays[names[new]])


def shapes_of(arrays: Mapping[str, AnyArray]) -> Mapping[str, tuple[int, ...]]:
    """Return the shapes of arrays, none of which is read for this."""
    if isinstance(arrays, Arrays):
        return arrays.shapes
    return {name: array.shape for name, array in arrays.items()}


def in_memory(arrays: Mapping[str, AnyArray]) -> dict[str, AnyArray]:
    """Read all arrays."""
    return dict(arrays.items())

"""What a new file of a format can hold: names, dtypes and axes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeVar

import numpy as np

from backnorm.convert.files._dtypes import widened
from backnorm.errors import FileError, WriteError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from backnorm._types import AnyArray

__all__ = ["KINDS", "NUMBERS", "Holds", "check_groups", "check_name", "distinct", "fitting"]

T = TypeVar("T")

KINDS: Final = {
    "b": "truth values",
    "iu": "whole numbers",
    "f": "real numbers",
    "c": "complex numbers",
    "SU": "text",
    "Mm": "dates",
    "V": "records",
}
"""NumPy's letters for the kinds of dtypes, and the words for them."""

NUMBERS: Final = "biufc"


@dataclass(frozen=True, slots=True)
class Holds:
    """What a format can hold.

    Attributes
    ----------
    dtypes
        The names of its dtypes; None if it has all of some kinds.
    kinds
        Those kinds, in NumPy's letters.
    widens
        Whether a dtype that NumPy does not have is written as float32.
    axes
        How many axes an array may have.
    reserved
        Names that mean something else in the format.
    forbidden
        Characters that a name may not contain.
    groups
        Whether a name is a path of groups, whose parts cannot be empty or a dot.
    longest
        How many bytes a name may have.
    """

    dtypes: Collection[str] | None = None
    kinds: str = NUMBERS
    widens: bool = False
    axes: int = 64
    reserved: tuple[str, ...] = ()
    forbidden: str = ""
    groups: bool = False
    longest: int | None = None


def fitting(file: str, named: Iterable[tuple[str, AnyArray]], holds: Holds) -> dict[str, AnyArray]:
    """Collect the arrays of a new file under their names.

    Parameters
    ----------
    file
        For messages.
    named
        Names and arrays.
    holds
        What the format can hold.

    Returns
    -------
    dict
        In the same order; each array in C order and in the machine's order of bytes, with its
        shape.

    Raises
    ------
    FileError
        Naming the array that the format cannot hold, or the name that two arrays have.
    """
    return distinct(
        file,
        (
            (check_name(file, name, holds), _array(file, name, np.asarray(array), holds))
            for name, array in named
        ),
    )


def distinct(file: str, named: Iterable[tuple[str, T]]) -> dict[str, T]:
    """Collect what goes into a new file by its names, each of which must be there once.

    Parameters
    ----------
    file
        For messages.
    named
        Names, and what they stand for.

    Returns
    -------
    dict
        In the same order.

    Raises
    ------
    FileError
        Naming what is there twice: the second would silently replace the first.
    """
    collected: dict[str, T] = {}
    for name, content in named:
        if name in collected:
            raise WriteError.twice(file, name)
        collected[name] = content
    return collected


def check_groups(file: str, names: Iterable[str]) -> None:
    """Refuse a name that leads through an array, where a name is a path of groups.

    Parameters
    ----------
    file
        For messages.
    names
        Of all arrays.

    Raises
    ------
    FileError
        Naming both.
    """
    there = set(names)
    for name in there:
        at = name.find("/")
        while at >= 0:
            if name[:at] in there:
                raise WriteError.within_array(file, name, name[:at])
            at = name.find("/", at + 1)


def check_name(file: str, name: str, holds: Holds) -> str:
    """Return a name, or refuse a name that would be another one in a file of the format.

    Parameters
    ----------
    file
        For messages.
    name
        Of an array or of a layer.
    holds
        What the format can hold.

    Returns
    -------
    str
        The name.

    Raises
    ------
    FileError
        Saying what a name must be.
    """
    try:
        length = len(name.encode())
    except UnicodeEncodeError:
        raise WriteError.unwritable_name(file, name, "be UTF-8 text") from None
    if holds.longest is not None and length > holds.longest:
        raise WriteError.unwritable_name(file, name, f"have at most {holds.longest} bytes")
    if name in holds.reserved:
        raise WriteError.unwritable_name(file, name, f"differ from {name}")
    for character in holds.forbidden:
        if character in name:
            raise WriteError.unwritable_name(file, name, f"not contain {character!r}")
    if holds.groups and not {"", "."}.isdisjoint(name.split("/")):
        raise WriteError.unwritable_name(file, name, "not have an empty part or '.' between '/'")
    return name


def _array(file: str, name: str, array: AnyArray, holds: Holds) -> AnyArray:
    """Return an array as it will be written."""
    plain = widened(array) if holds.widens else array
    dtype = plain.dtype
    if dtype.hasobject:
        raise FileError.runs_code(file, name, f"an array of {dtype}")
    if holds.dtypes is not None:
        fits = dtype.name in holds.dtypes
    else:  # a dtype of kind V without fields is one that NumPy does not have
        fits = dtype.kind in holds.kinds and (dtype.kind != "V" or dtype.names is not None)
    if not fits:
        words = [words for kinds, words in KINDS.items() if set(kinds) <= set(holds.kinds)]
        raise WriteError.unwritable_dtype(file, name, dtype, holds.dtypes or words)
    if plain.ndim > holds.axes:
        raise WriteError.unwritable_axes(file, name, plain.ndim, holds.axes)
    return np.asarray(plain, dtype=dtype.newbyteorder("="), order="C")

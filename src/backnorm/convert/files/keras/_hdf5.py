"""The structure of an HDF5 file, read in a separate process.

The HDF5 library trusts its files: on a few damaged bytes it has looped without an end. A child
process reads the structure, with a limit on its time, and says where each array lies; the
values are read here, from the bytes themselves.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from backnorm.convert.files._content import InMemory
from backnorm.convert.files._slots import Slot
from backnorm.convert.files.naming.numbers import whole_number
from backnorm.errors import FileError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from backnorm.convert.files._content import Content

__all__ = ["DEEPEST", "Index", "index_of", "json_of"]

DEEPEST: Final = 64
"""Networks in networks, in a configuration."""

CHILD: Final = Path(__file__).with_name("_hdf5_child.py")

SECONDS: Final = 30.0
"""For the structure alone; 10,000 arrays take about 2."""


@dataclass(frozen=True, slots=True)
class Index:
    """The structure of an HDF5 file.

    Attributes
    ----------
    slots
        Where each array lies, by its path, in the order of the network if the file tells it.
    left
        The paths of arrays that are not read, and why.
    config
        The attribute ``model_config`` of the file; None where the file lacks it.
    named
        Whether the arrays have names, as in Keras 2, and not numbers.
    ordered
        Whether the file tells the order of the network.
    """

    slots: Mapping[str, Slot]
    left: Mapping[str, str]
    config: str | None
    named: bool
    ordered: bool


def index_of(file: str, content: Content) -> Index:
    """Read the structure of a file.

    Parameters
    ----------
    file
        Its name, for messages.
    content
        Its bytes.

    Returns
    -------
    Index
        Where each array lies.

    Raises
    ------
    FileError
        If it is damaged, leads elsewhere, or keeps the library busy for too long.
    """
    command = [sys.executable, "-I", str(CHILD)]
    try:
        done = _run(command, content)
    except subprocess.TimeoutExpired as error:
        raise FileError.died(file, "h5py", f"no answer within {SECONDS:g} s") from error
    if done.returncode:
        raise FileError.died(file, "h5py", f"exit status {done.returncode}")
    answer = json.loads(done.stdout)
    if "outside" in answer:
        raise FileError.outside(file, *answer["outside"])
    if "error" in answer:
        raise FileError.malformed(file, "", "be a file that h5py can read", answer["error"])
    slots = {}
    for name, dtype, shape, start, end in _in_order(answer["arrays"], answer["order"]):
        if end > len(content):
            raise FileError.truncated(file, name, end - start, max(len(content) - start, 0))
        slots[name] = Slot(np.dtype(dtype), tuple(shape), ((start, end),))
    left = dict.fromkeys(answer["scattered"], "is compressed or in pieces")
    left |= dict.fromkeys(answer["foreign"], "is not an array of numbers")
    return Index(slots, left, answer["config"], answer["named"], bool(answer["order"]))


def _in_order(arrays: Sequence[Any], order: Sequence[str]) -> list[Any]:
    """Put the arrays in the order that Keras lists, and the others behind, by their numbers."""
    places = {path: place for place, path in enumerate(order)}

    def key(array: Any) -> tuple[int, list[tuple[str, int]]]:
        parts = [part.rpartition("_") for part in array[0].split("/")]
        numbers = [whole_number(end) for _, _, end in parts]
        numbered = [
            (start + mark + end, 0) if number is None else (start, number)
            for (start, mark, end), number in zip(parts, numbers, strict=True)
        ]
        return places.get(array[0], len(order)), numbered

    return sorted(arrays, key=key)


def _run(command: list[str], content: Content) -> subprocess.CompletedProcess[bytes]:
    """Run the child on bytes in memory, or let it read the open file itself."""
    if isinstance(content, InMemory):
        return subprocess.run(
            command, input=content.data, capture_output=True, timeout=SECONDS, check=False
        )
    os.lseek(content.number, 0, os.SEEK_SET)
    return subprocess.run(
        command, stdin=content.number, capture_output=True, timeout=SECONDS, check=False
    )


def json_of(file: str, place: str, text: str | bytes) -> dict[str, Any]:
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
    except (ValueError, RecursionError) as error:
        raise FileError.library(file, "json", error) from error
    if not isinstance(value, dict):
        raise FileError.malformed(file, place, "be a JSON object", type(value).__name__)
    return value

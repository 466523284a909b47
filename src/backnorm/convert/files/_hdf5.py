"""The structure of an HDF5 file, read in a separate process.

The HDF5 library trusts its files: on a few damaged bytes it has looped without an end. A child
process reads the structure, with a limit on its time, and says where each array lies; the
values are read here, from the bytes themselves.
"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from backnorm.convert.files._slots import Slot
from backnorm.errors import FileError

if TYPE_CHECKING:
    from collections.abc import Mapping

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
        Where each array lies, by its path.
    scattered
        The paths of arrays that are compressed or in several pieces.
    config
        The attribute ``model_config`` of the file; None where the file lacks it.
    named
        Whether the arrays have names, as in Keras 2, and not numbers.
    """

    slots: Mapping[str, Slot]
    scattered: tuple[str, ...]
    config: str | None
    named: bool


def index_of(file: str, data: bytes) -> Index:
    """Read the structure of a file.

    Parameters
    ----------
    file
        Its name, for messages.
    data
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
        done = subprocess.run(
            command, input=data, capture_output=True, timeout=SECONDS, check=False
        )
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
    for name, dtype, shape, start, end in answer["arrays"]:
        if end > len(data):
            raise FileError.truncated(file, name, end - start, max(len(data) - start, 0))
        kind = np.dtype(dtype)
        if kind.kind not in "biufc":
            raise FileError.unknown_dtype(file, name, dtype, ("float16", "float32", "float64"))
        slots[name] = Slot(kind, tuple(shape), ((start, end),))
    return Index(slots, tuple(answer["scattered"]), answer["config"], answer["named"])


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

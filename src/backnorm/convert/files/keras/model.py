"""Keras 3: .keras, a zip archive of a configuration and of weights in HDF5.

The configuration is read as data: neither Keras nor a layer's code is ever loaded, so a Lambda has
nothing to run.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from backnorm.convert.files import _zip
from backnorm.convert.files._slots import Slots, write_over
from backnorm.convert.files.keras._hdf5 import json_of
from backnorm.convert.files.keras.h5 import filled, with_config
from backnorm.convert.files.registry import Format, register
from backnorm.errors import FileError, WriteError

if TYPE_CHECKING:
    from collections.abc import Collection

    from backnorm.convert.files._budget import Source
    from backnorm.convert.files.record import ModelFile

__all__ = ["FORMAT"]

CONFIG: Final = "config.json"
WEIGHTS: Final = "model.weights.h5"


@dataclass(frozen=True, slots=True, eq=False)
class _KerasArchive:
    """The bytes of the archive that was read, and where its weights lie."""

    data: bytes
    weights: Slots


def read(source: Source) -> ModelFile:
    """Read the layers of a .keras file."""
    path = source.path
    data = source.data
    parts = _zip.members(source.budget, data)
    for name in (CONFIG, WEIGHTS):
        if name not in parts:
            raise FileError.malformed(path.name, name, "be in the archive", "no such member")
    config = json_of(path.name, CONFIG, parts[CONFIG])
    model = with_config(source, parts[WEIGHTS], config)
    assert isinstance(model.content, Slots)  # noqa: S101 - it was made a line above
    return replace(model, content=_KerasArchive(data, model.content))


def write(model: ModelFile) -> bytes:
    """Write over the weights in the archive that was read."""
    if not isinstance(model.content, _KerasArchive):
        raise WriteError.needs_architecture(model.path.name, ".keras", "an .h5 file")
    weights = write_over(model, model.content.weights)
    return _zip.replaced(model.content.data, {WEIGHTS: weights})


def fill(like: ModelFile, names: Collection[str]) -> _KerasArchive:
    """Return an archive, in which all arrays of a network are written over."""
    assert isinstance(like.content, _KerasArchive)  # noqa: S101 - the reader above made it
    return replace(like.content, weights=filled(like.content.weights, names))


FORMAT: Final = Format("keras", ("keras",), read, write, makes_new=False, fill=fill)

register(FORMAT)

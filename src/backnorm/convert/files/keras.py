"""Keras 3: .keras, a zip archive of a configuration and of weights in HDF5.

The configuration is read as data: neither Keras nor a layer's code is ever loaded, so a Lambda has
nothing to run.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from backnorm.convert.files import _zip
from backnorm.convert.files._hdf5 import json_of
from backnorm.convert.files._slots import Slots, write_over
from backnorm.convert.files.h5 import with_config
from backnorm.convert.files.registry import Format, register
from backnorm.errors import FileError

if TYPE_CHECKING:
    from pathlib import Path

    from backnorm.convert.files.record import ModelFile

__all__ = ["FORMAT"]

CONFIG: Final = "config.json"
WEIGHTS: Final = "model.weights.h5"


@dataclass(frozen=True, slots=True, eq=False)
class _KerasArchive:
    """The bytes of the archive that was read, and where its weights lie."""

    data: bytes
    weights: Slots


def read(path: Path, data: bytes, net: Path | None) -> ModelFile:  # noqa: ARG001 - inside
    """Read the layers of a .keras file."""
    parts = _zip.members(path.name, data)
    for name in (CONFIG, WEIGHTS):
        if name not in parts:
            raise FileError.malformed(path.name, name, "be in the archive", "no such member")
    config = json_of(path.name, CONFIG, parts[CONFIG])
    model = with_config(path, parts[WEIGHTS], config, WEIGHTS)
    assert isinstance(model.content, Slots)  # noqa: S101 - it was made a line above
    return replace(model, content=_KerasArchive(data, model.content))


def write(model: ModelFile) -> bytes:
    """Write over the weights in the archive that was read."""
    if not isinstance(model.content, _KerasArchive):
        raise FileError.needs_architecture(model.path.name, ".keras", "an .h5 file")
    weights = write_over(model, model.content.weights)
    return _zip.replaced(model.content.data, {WEIGHTS: weights})


FORMAT: Final = Format("keras", ("keras",), read, write, makes_new=False)

register(FORMAT)

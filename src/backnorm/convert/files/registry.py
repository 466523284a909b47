"""The formats, and the module of each: one line a format.

A format's module is imported when a file of that format turns up, so a library that no file needs
need not be installed. PyTorch's module lives in ``backnorm.torch``, where PyTorch is imported.
"""

from __future__ import annotations

import importlib
import importlib.util
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from backnorm.errors import FileError, NotInstalledError, UnknownNameError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from backnorm.convert.files.record import ModelFile

__all__ = ["FORMATS", "Format", "Home", "format_of", "register"]


@dataclass(frozen=True, slots=True)
class Home:
    """Where a format is implemented, and what it needs.

    Attributes
    ----------
    module
        The module that reads and writes it; it registers itself when it is imported.
    suffixes
        How its files' names end.
    library
        The package that it needs beyond NumPy, by its import name; empty where NumPy will do.
    extra
        The extra of backnorm that installs the package.
    """

    module: str
    suffixes: tuple[str, ...]
    library: str = ""
    extra: str = "files"


FORMATS: Final[dict[str, Home]] = {
    "caffemodel": Home("backnorm.convert.files.caffe.caffemodel", (".caffemodel",)),
    "mxnet": Home("backnorm.convert.files.mxnet_params", (".params",)),
    "torch": Home("backnorm.torch.files", (".pt", ".pth"), "torch", extra="torch"),
    "safetensors": Home("backnorm.convert.files.safetensors", (".safetensors",), "safetensors"),
    "keras": Home("backnorm.convert.files.keras", (".keras",), "h5py"),
    "h5": Home("backnorm.convert.files.h5", (".h5", ".hdf5"), "h5py"),
    "onnx": Home("backnorm.convert.files.onnx", (".onnx",), "onnx"),
    "msgpack": Home("backnorm.convert.files.msgpack", (".msgpack",), "msgpack"),
    "npz": Home("backnorm.convert.files.npz", (".npz",)),
}
"""Every format. A file has the first format that lists its suffix."""


@dataclass(frozen=True, slots=True)
class Format:
    """How a format is read and written; every function gets and gives the whole file as bytes.

    Attributes
    ----------
    name
        As in `FORMATS`.
    dialects
        The dialects whose layers it can hold.
    read
        From the path (for messages, and for what lies beside), its bytes, and the path of the
        file that describes the network where that is another one, or None to look beside.
    write
        From the model to the bytes of its file.
    makes_new
        Whether a file can be made of layers and other arrays; a format that needs the network's
        description too can only be written over.
    """

    name: str
    dialects: tuple[str, ...]
    read: Callable[[Path, bytes, Path | None], ModelFile]
    write: Callable[[ModelFile], bytes]
    makes_new: bool = True


_REGISTRY: dict[str, Format] = {}


def register(format_: Format) -> None:
    """Make a format known; its module calls this when it is imported."""
    _REGISTRY[format_.name] = format_


def format_of(path: Path, name: str | None = None) -> Format:
    """Return the format of a file, by the format's name or by the ending of the file's name.

    Parameters
    ----------
    path
        The file; it need not be there.
    name
        The format's name; None to go by the ending of the file's name.

    Returns
    -------
    Format
        How to read and write it.

    Raises
    ------
    FileError
        If no format has that ending.
    NotInstalledError
        If the format's library is not there.
    UnknownNameError
        If no format has that name.
    """
    if name is None:
        name = _named_by(path)
    if name not in FORMATS:
        raise UnknownNameError.choice("format", name, tuple(FORMATS))
    home = FORMATS[name]
    if home.library and importlib.util.find_spec(home.library) is None:
        raise NotInstalledError.package(home.library, home.extra, f"The format {name}")
    if name not in _REGISTRY:
        importlib.import_module(home.module)
    return _REGISTRY[name]


def _named_by(path: Path) -> str:
    ending = path.suffix.lower()
    for name, home in FORMATS.items():
        if ending in home.suffixes:
            return name
    raise FileError.no_format(path.name, (s for home in FORMATS.values() for s in home.suffixes))

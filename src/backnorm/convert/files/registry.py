"""The formats, and the module of each: one line a format.

A format's module is imported when a file of that format turns up, so a library that no file needs
need not be installed.
"""

from __future__ import annotations

import importlib
import importlib.util
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

from backnorm.errors import FileError, NotInstalledError, UnknownNameError, WriteError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from pathlib import Path

    from backnorm.convert.files._budget import Source
    from backnorm.convert.files.record import LayerFold, ModelFile

    FillFunction: TypeAlias = Callable[[ModelFile, Collection[str]], object]
    FoldFunction: TypeAlias = Callable[
        [ModelFile, ModelFile | None], tuple[ModelFile, tuple[LayerFold, ...]]
    ]

__all__ = [
    "FORMATS",
    "Format",
    "Home",
    "check_new",
    "format_of",
    "name_of_format",
    "register",
    "writable_format",
]


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
    read_only
        Whether its files are only read: they hold a program, which arrays do not tell.
    """

    module: str
    suffixes: tuple[str, ...]
    library: str = ""
    extra: str = "files"
    read_only: bool = False
    new_needs: str = ""
    """The package, and the extra of its name, that a new file needs; a file that was read is
    written over without it."""


FORMATS: Final[dict[str, Home]] = {
    "caffemodel": Home("backnorm.convert.files.caffe.caffemodel", (".caffemodel",)),
    "mxnet": Home("backnorm.convert.files.mxnet.params", (".params",)),
    "torch": Home("backnorm.convert.files.torch.checkpoint", (".pt", ".pth"), new_needs="torch"),
    "safetensors": Home("backnorm.convert.files.safetensors", (".safetensors",), "safetensors"),
    "keras": Home("backnorm.convert.files.keras.model", (".keras",), "h5py"),
    "h5": Home("backnorm.convert.files.keras.h5", (".h5", ".hdf5"), "h5py"),
    "onnx": Home("backnorm.convert.files.onnx.model", (".onnx",), "onnx"),
    "msgpack": Home("backnorm.convert.files.msgpack", (".msgpack",), "msgpack"),
    "npz": Home("backnorm.convert.files.npz", (".npz",)),
    "torchscript": Home(
        "backnorm.convert.files.torch.torchscript", (".torchscript", ".ptl"), read_only=True
    ),
    "tfjs": Home("backnorm.convert.files.tensorflow.tfjs", (".json",), read_only=True),
    "savedmodel": Home(
        "backnorm.convert.files.tensorflow.savedmodel",
        (".pb",),
        "tensorflow",
        extra="tensorflow",
        read_only=True,
    ),
    "tflite": Home("backnorm.convert.files.tensorflow.tflite", (".tflite",), read_only=True),
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
        From the source: the path, the bytes, and the bytes of memory that it may take.
    write
        From the model to the bytes of its file; None for a format that is read only.
    makes_new
        Whether a file can be made of layers and other arrays; a format that needs the network's
        description too can only be written over.
    keeps_versions
        Whether a file that was read can be written with all that it holds in another of the
        dialects: they are versions of one.
    fold
        From the model that was read, and the target's or None, to the model whose norms are folded
        as far as they can be, and the record of each; None if files do not tell what stands before
        a norm.
    fill
        From a file that was read, and the names of arrays in it, to the content of a file like it
        in which the layers and these arrays are written over; None if a new file is as good.
    has_net
        Whether another file may describe the network.
    """

    name: str
    dialects: tuple[str, ...]
    read: Callable[[Source], ModelFile]
    write: Callable[[ModelFile], bytes] | None
    makes_new: bool = True
    keeps_versions: bool = False
    fold: FoldFunction | None = None
    fill: FillFunction | None = None
    has_net: bool = False


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
    name = name_of_format(path, name)
    home = FORMATS[name]
    if home.library and importlib.util.find_spec(home.library) is None:
        raise NotInstalledError.package(home.library, home.extra, f"The format {name}")
    if name not in _REGISTRY:
        importlib.import_module(home.module)
    return _REGISTRY[name]


def check_new(name: str) -> None:
    """Raise NotInstalledError if a new file of a format needs a package that is not there."""
    package = FORMATS[name].new_needs
    if package and importlib.util.find_spec(package) is None:
        raise NotInstalledError.package(package, package, f"A new file of the format {name}")


def writable_format(path: Path, name: str | None = None) -> Format:
    """Return the format of a file that will be written; see `format_of`.

    Raises
    ------
    FileError
        If the format is read only, whether or not its library is installed.
    FileError, NotInstalledError, UnknownNameError
        As `format_of`.
    """
    name = name_of_format(path, name)
    if FORMATS[name].read_only:
        raise WriteError.read_only(path.name, name)
    return format_of(path, name)


def name_of_format(path: Path, name: str | None = None) -> str:
    """Return the name of a file's format, whether or not its library is installed.

    Raises
    ------
    FileError
        If no format has that ending.
    UnknownNameError
        If no format has that name.
    """
    if name is not None:
        if name not in FORMATS:
            raise UnknownNameError.choice("format", name, tuple(FORMATS))
        return name
    ending = path.suffix.lower()
    for known, home in FORMATS.items():
        if ending in home.suffixes:
            return known
    raise FileError.no_format(path.name, (s for home in FORMATS.values() for s in home.suffixes))

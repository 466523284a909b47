"""Model files of many frameworks: normalization layers are converted, all else is carried."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from backnorm.convert.files._checks import check_layers
from backnorm.convert.files._whole import write_whole
from backnorm.convert.files.conversion import (
    LayerChange,
    convert_model,
    with_dialect,
    with_options,
)
from backnorm.convert.files.record import ModelFile, NormLayer
from backnorm.convert.files.registry import FORMATS, format_of
from backnorm.errors import FileError

if TYPE_CHECKING:
    import os

__all__ = [
    "FORMATS",
    "LayerChange",
    "ModelFile",
    "NormLayer",
    "convert_model",
    "read",
    "with_dialect",
    "with_options",
    "write",
]


def read(
    path: str | os.PathLike[str],
    *,
    format: str | None = None,  # noqa: A002 - the word for it
    net: str | os.PathLike[str] | None = None,
) -> ModelFile:
    """Read a model file: its normalization layers, and all other arrays.

    No code that the file brings along is run, and no other file is opened on its word.

    Parameters
    ----------
    path
        The file.
    format
        One of `FORMATS`; None to go by the ending of the file's name.
    net
        The file that describes the network, where the format has one (Caffe's prototxt, MXNet's
        symbol file); None to look beside the file.

    Returns
    -------
    ModelFile
        Layers in their own dialect's names, as they are stored.

    Raises
    ------
    FileError
        If it cannot be read, naming the file, the layer and the field.
    NotInstalledError
        If the format's library is not installed.
    UnknownNameError
        If no format has that name.

    Notes
    -----
    Cost: the file is in memory once; most arrays are views of it.

    Examples
    --------
    >>> import numpy as np
    >>> from backnorm.convert import files
    >>> c = np.ones(3, np.float32)
    >>> np.savez("a.npz", **{"bn.running_mean": c, "bn.running_var": c, "fc.weight": c})
    >>> model = files.read("a.npz")
    >>> model.layers[0].name, model.layers[0].dialect, list(model.others)
    ('bn', 'torch', ['fc.weight'])
    """
    file = Path(path)
    kind = format_of(file, format)
    try:
        data = file.read_bytes()
    except OSError as error:
        raise FileError.unreadable(file.name, error) from error
    if not data:  # which protocol buffers would take for a message, and HDF5 for a new file
        raise FileError.truncated(file.name, "", 1, 0)
    model = kind.read(file, data, None if net is None else Path(net))
    check_layers(model)
    return model


def write(path: str | os.PathLike[str], model: ModelFile) -> None:
    """Write a model file, whole or not at all.

    A model that was read goes back into its own bytes: the layers' arrays in their places, in the
    dtype they had there, and all else as it was.

    Parameters
    ----------
    path
        The file; an existing file is replaced.
    model
        What to write, in ``model.format``.

    Raises
    ------
    FileError
        If the format cannot hold it, or the operating system refuses; nothing is changed then.
    NotInstalledError
        If the format's library is not installed.

    Notes
    -----
    The bytes go to a temporary file beside it, then to the disk, and only then to the name.

    Examples
    --------
    >>> import numpy as np
    >>> from backnorm.convert import files
    >>> c = np.ones(3, np.float32)
    >>> layer = files.NormLayer("bn", "torch", {"running_mean": c, "running_var": c})
    >>> files.write("b.npz", files.ModelFile("b.npz", "npz", (layer,)))
    >>> sorted(np.load("b.npz"))
    ['bn.running_mean', 'bn.running_var']
    """
    file = Path(path)
    kind = format_of(file, model.format)
    for layer in model.layers:
        if layer.dialect not in kind.dialects:
            raise FileError.wrong_dialect(file.name, kind.name, layer.dialect, kind.dialects)
    write_whole(file, kind.write(replace(model, path=file)))

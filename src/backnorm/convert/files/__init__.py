"""Model files of many frameworks: normalization layers are converted, all else is carried."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from backnorm.convert.files._arrays import in_memory
from backnorm.convert.files._checks import check_variances
from backnorm.convert.files._opening import read_model
from backnorm.convert.files._whole import write_whole
from backnorm.convert.files.conversion import LayerChange, convert_model
from backnorm.convert.files.folding.model import fold_model
from backnorm.convert.files.inspection import (
    FileFinding,
    Inspection,
    LayerSummary,
    inspect_model,
)
from backnorm.convert.files.naming._told import KERNEL_OPTIONS, with_kernel_settings
from backnorm.convert.files.naming.like import NameMatch, match_names
from backnorm.convert.files.naming.names import pairs_in, with_names
from backnorm.convert.files.record import LayerFold, LayerKernel, ModelFile, NormLayer
from backnorm.convert.files.registry import FORMATS, writable_format
from backnorm.convert.files.untold import with_dialect, with_options
from backnorm.errors import WriteError

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence

    from backnorm.convert.files.record import Setting

__all__ = [
    "FORMATS",
    "FileFinding",
    "Inspection",
    "LayerChange",
    "LayerFold",
    "LayerKernel",
    "LayerSummary",
    "ModelFile",
    "NameMatch",
    "NormLayer",
    "convert_model",
    "fold_model",
    "inspect_model",
    "match_names",
    "open_lazily",
    "pairs_in",
    "read",
    "with_dialect",
    "with_names",
    "with_options",
    "write",
]


def read(
    path: str | os.PathLike[str],
    *,
    format: str | None = None,  # noqa: A002 - the word for it
    net: str | os.PathLike[str] | None = None,
    memory: int | None = None,
    dialect: str | None = None,
    settings: Sequence[Setting] = (),
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
    memory
        How many bytes the file may take in memory beside its own; None for 4 times its size, and
        that of ONNX's external data, and 16 MiB.
    dialect
        Whose layers they are, where files of several dialects look alike; see `with_dialect`.
    settings
        What the file does not tell, as pattern for the layers' names, option, value; later ones
        win. Options of normalization layers: see `with_options`; Keras's ``.weights.h5`` cannot be
        read without ``("*", "scale", False)``, or True, if a layer lacks gamma or beta. "flatten"
        of a dense layer is the number of channels of the map that is flattened before it, or
        False. "kind" of an array is "dense", "conv", "depthwise", "transposed" or "other".

    Returns
    -------
    ModelFile
        Layers in their own dialect's names, as they are stored.

    Raises
    ------
    FileError
        If it cannot be read, naming the file, the layer and the field, or a pattern of the settings
        fits no layer.
    NotInstalledError
        If the format's library is not installed.
    UnknownNameError
        If no format has that name, or the dialect does not exist or has arrays of other names.

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
    model = read_model(path, format, net, memory, settings)
    check_variances(model)
    return _told(replace(model, others=in_memory(model.others)), dialect, settings)


def open_lazily(
    path: str | os.PathLike[str],
    *,
    format: str | None = None,  # noqa: A002 - the word for it
    net: str | os.PathLike[str] | None = None,
    memory: int | None = None,
    dialect: str | None = None,
    settings: Sequence[Setting] = (),
) -> ModelFile:
    """Open a model file to look at it: arrays stay in the file until they are asked for.

    The values of the layers are not judged: a variance may be negative or NaN, which `read`
    refuses.

    Parameters
    ----------
    path, format, net, memory, dialect, settings
        As for `read`.

    Returns
    -------
    ModelFile
        For `inspect_model`. The file stays open as long as the model lives.

    Raises
    ------
    FileError, NotInstalledError, UnknownNameError
        As for `read`.

    Notes
    -----
    Cost: of `.safetensors`, `.npz`, `.h5`, TorchScript and zipped `.pt` files the arrays of
    normalization layers alone are read; files of all other formats are read whole.

    Examples
    --------
    >>> import numpy as np
    >>> from backnorm.convert import files
    >>> c = np.ones(3, np.float32)
    >>> np.savez("a.npz", **{"bn.running_mean": c, "bn.running_var": -c})
    >>> model = files.open_lazily("a.npz")
    >>> [finding.code for finding in files.inspect_model(model).findings]
    ['F02', 'F08', 'F09']
    """
    model = read_model(path, format, net, memory, settings, lazily=True)
    return _told(model, dialect, settings)


def _told(model: ModelFile, dialect: str | None, settings: Sequence[Setting]) -> ModelFile:
    """Add what the caller says of the layers."""
    model = model if dialect is None else with_dialect(model, dialect)
    model = with_kernel_settings(model, settings)
    return with_options(model, [item for item in settings if item[1] not in KERNEL_OPTIONS])


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
    The bytes go to a temporary file beside it, then to the disk, and only then to the name. What
    belongs to the model, such as the prototxt of a folded Caffe network, is written after it.

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
    kind = writable_format(file, model.format)
    assert kind.write is not None  # noqa: S101 - it is not read only
    for layer in model.layers:
        if layer.dialect not in kind.dialects:
            raise WriteError.wrong_dialect(file.name, kind.name, layer.dialect, kind.dialects)
    write_whole(file, kind.write(replace(model, path=file)))
    for ending, data in model.beside.items():
        write_whole(file.with_suffix(ending), data)

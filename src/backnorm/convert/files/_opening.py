"""Open a model file and read it, in memory or lazily."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from backnorm.convert.files._budget import Source, budget_of
from backnorm.convert.files._checks import check_arrays
from backnorm.convert.files._content import InMemory, OnDisk
from backnorm.convert.files._flat import torn_layers
from backnorm.convert.files._recognized import format_in, format_told, located
from backnorm.convert.files._regular import open_regular, read_regular
from backnorm.convert.files.registry import format_of
from backnorm.convert.files.untold import check_settings
from backnorm.errors import FileError

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence

    from backnorm.convert.files._content import Content
    from backnorm.convert.files.record import ModelFile, Setting
    from backnorm.convert.files.registry import Format

__all__ = ["read_model"]


def read_model(
    path: str | os.PathLike[str],
    format_: str | None,
    net: str | os.PathLike[str] | None,
    memory: int | None,
    settings: Sequence[Setting] = (),
    *,
    lazily: bool = False,
) -> ModelFile:
    """Read a model file without a look at the values of its layers; see `backnorm.convert.files`.

    Parameters
    ----------
    path, format_, net, memory, settings
        As for `backnorm.convert.files.read`.
    lazily
        Whether to leave arrays in the file until they are asked for, where the format allows it.
        The file stays open as long as the model lives.

    Returns
    -------
    ModelFile
        With layers whose arrays have fitting dtypes and lengths.

    Raises
    ------
    FileError
        If it cannot be read.
    NotInstalledError
        If the format's library is not installed.
    UnknownNameError
        If no format has that name.
    """
    file = located(Path(path))
    check_settings(file.name, settings)
    if format_ is not None:
        format_of(file, format_)  # refuses a name that no format has, before the file is opened
    content = _lazily(file) if lazily else InMemory(read_regular(file))
    if not len(content):  # which protocol buffers would take for a message, and HDF5 for a new file
        raise FileError.empty(file.name)
    format_named = format_of(file, format_ or format_told(file, content))
    budget = budget_of(file.name, len(content), memory)
    beside = None if net is None else Path(net)
    try:
        model = format_named.read(Source(file, content, beside, budget, settings, inspected=lazily))
    except FileError as error:
        found = format_in(content)
        if format_ is None and found not in {None, format_named.name}:
            raise FileError.other_format(file.name, format_named.name, str(found)) from error
        raise
    check_arrays(model)
    torn = torn_layers(model.others, format_named.dialects)
    unread = () if beside is None or format_named.has_net else (_unread(beside, format_named),)
    return replace(model, notes=(*model.notes, *torn, *unread))


def _unread(net: Path, format_: Format) -> str:
    what = f"a file of the format {format_.name}"
    return f"{net.name} is not read: {what} needs no other file for its network"


def _lazily(file: Path) -> Content:
    return OnDisk.of(file.name, open_regular(file))

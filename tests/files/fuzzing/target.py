"""What every reader must withstand: any bytes are read, or refused by an error of ours.

What can be read can be written back, converted and folded, unless an error of ours refuses
that; and what has been written can be read again, with the same values.
"""

from __future__ import annotations

import traceback
import tracemalloc
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from backnorm.convert import files
from backnorm.convert.files.registry import FORMATS
from backnorm.errors import BacknormError
from files.fuzzing.entry import main_file, stored

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import numpy as np

    from backnorm.convert.files import ModelFile
    from files.fuzzing.entry import Entry

FLOOR: Final = 16 << 20
TIMES: Final = 4
"""The limit of docs/files.md: bytes of memory for a file beside its own."""

SPARE: Final = 2 << 20
"""Bytes that the first reading takes for what Python and a library keep: compiled patterns, types,
the text of an error."""

MOST_TO_WRITE: Final = 64 << 20
"""Bytes of arrays that are written: a hundred views of a storage share it in memory only."""

FAULTS: Final = (AssertionError, AttributeError, NameError)
"""What code of ours never means to raise."""

LIKE: Final = ("npz", "safetensors", "torch")
"""Formats of a state_dict: what is folded follows from a target."""

SETTINGS: Final = {"h5": [("*", "scale", False)]}
"""What the reader has to be told of a layer with three arrays."""


def check(format_: str, entry: Entry, folder: Path) -> str:
    """Read an entry, and write what could be read.

    Parameters
    ----------
    format_
        The format it is read as.
    entry
        The files.
    folder
        An empty folder, of which the caller takes care.

    Returns
    -------
    str
        The message of the error of ours, or "" if there was none.

    Raises
    ------
    AssertionError
        If a reading takes more memory than is allowed, or what was written is not what was read.
    Exception
        Whatever other fault there is.
    """
    stored(entry, folder)
    path = main_file(entry, format_, folder)
    try:
        model = _read_within(path, format_, sum(map(len, entry.values())))
        told = SETTINGS.get(format_, ())
        files.inspect_model(files.open_lazily(path, format=format_, settings=told))
        if sum(array.nbytes for array in model.others.values()) < MOST_TO_WRITE:
            if not FORMATS[model.format].read_only:
                _written_back(model, path)
            _converted(model, folder)
            _folded(model, folder)
    except BacknormError as error:
        _raise_a_fault_of_ours(error)
        return str(error)
    return ""


def _read(path: Path, format_: str) -> ModelFile:
    return files.read(path, format=format_, settings=SETTINGS.get(format_, ()))


def _read_within(path: Path, format_: str, size: int) -> ModelFile:
    """Read, within the memory that such a file may take."""
    running = tracemalloc.is_tracing()
    if not running:
        tracemalloc.start()
    tracemalloc.reset_peak()
    before = tracemalloc.get_traced_memory()[0]
    try:
        return _read(path, format_)
    finally:
        peak = tracemalloc.get_traced_memory()[1] - before
        if not running:
            tracemalloc.stop()
        assert peak <= (TIMES + 1) * size + FLOOR + SPARE, f"{peak} bytes of memory for {size}"


def _written_back(model: ModelFile, path: Path) -> None:
    """Write over the file that it came from, beside which all other files are."""
    files.write(path, model)
    _same(model, _reread(path, model.format))


def _converted(model: ModelFile, folder: Path) -> None:
    """Write into another format, and open it.

    Opening judges no values: an array that belonged to no layer may be a negative variance under
    the names of the other framework, which `read` refuses.
    """
    name, dialect = ("t.npz", "torch") if model.format != "npz" else ("t.caffemodel", "caffe")
    converted, _ = files.convert_model(model, folder / name, dialect, allow_loss=True)
    files.write(folder / name, converted)
    assert _count(files.open_lazily(folder / name, format=converted.format)) == _count(converted)


def _folded(model: ModelFile, folder: Path) -> None:
    """Fold what can be folded, with what stays of the model as the target of a state_dict."""
    path = folder / f"folded{FORMATS[model.format].suffixes[0]}"
    like = replace(model, layers=()) if model.format in LIKE else None
    try:
        folded, folds = files.fold_model(model, path, format=model.format, like=like)
        files.write(path, folded)
    except BacknormError as error:  # such as a graph without a convolution before a norm
        _raise_a_fault_of_ours(error)
        return
    left = [fold.name for fold in folds if not fold.into]
    assert len(_reread(path, model.format).layers) == len(left)


def _raise_a_fault_of_ours(error: BacknormError) -> None:
    """Raise what `guard` turned into an error about the file, if our own code is at fault.

    Libraries raise any exception on a damaged file. One of `FAULTS` whose last frame is our code
    was not raised by a library.
    """
    cause = error.__cause__
    if isinstance(cause, FAULTS):
        *_, (frame, _) = traceback.walk_tb(cause.__traceback__)
        if frame.f_globals.get("__name__", "").startswith("backnorm."):
            raise cause


def _count(model: ModelFile) -> int:
    """Count arrays: names of which a layer of another framework would be made may make a layer."""
    return len(model.others) + sum(len(layer.state) for layer in model.layers)


def _reread(path: Path, format_: str) -> ModelFile:
    try:
        return _read(path, format_)
    except BacknormError as error:
        message = "what was written cannot be read"
        raise AssertionError(message) from error


def _same(model: ModelFile, reread: ModelFile) -> None:
    """Compare the names, and every array by its bytes."""
    assert [layer.name for layer in model.layers] == [layer.name for layer in reread.layers]
    for old, new in zip(model.layers, reread.layers, strict=True):
        assert dict(old.options) == dict(new.options) or _nan_in(old.options)
        _same_arrays(old.state, new.state)
    _same_arrays(model.others, reread.others)


def _nan_in(options: Mapping[str, object]) -> bool:
    return any(value != value for value in options.values())  # noqa: PLR0124 - only NaN differs


def _same_arrays(old: Mapping[str, np.ndarray], new: Mapping[str, np.ndarray]) -> None:
    assert list(old) == list(new)
    for name, array in old.items():
        assert (array.shape, array.dtype) == (new[name].shape, new[name].dtype), name
        assert array.tobytes() == new[name].tobytes(), name

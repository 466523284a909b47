"""Run as a separate process: an HDF5 file on stdin, its structure as JSON on stdout.

From a pipe all of it is read into memory; of a file h5py reads the structure alone.

It needs h5py and nothing of backnorm. A link is refused, also a link within the file: Keras does
not write links.
"""

from __future__ import annotations

import io
import json
import sys
from typing import Any, BinaryIO, Final

import h5py

__all__ = ["structure"]

MOST_OBJECTS: Final = 1_000_000
"""Damaged groups can contain each other; without this limit the walk would not end."""

NUMBERS: Final = "biufc"
"""The kinds of dtypes that are read."""

SPARE_MEMORY: Final = 1 << 31
"""Addresses for the interpreter, NumPy and HDF5: 0.16 GiB were measured, and a BLAS of many threads
takes more."""


def structure(stream: BinaryIO) -> dict[str, Any]:
    """Return all arrays and where they lie, or what is wrong with the file.

    Parameters
    ----------
    stream
        The file.

    Returns
    -------
    dict
        ``arrays`` (path, dtype, shape, first and last offset of each), ``scattered`` (paths),
        ``foreign`` (paths of what is not numbers), ``config``, ``named``, whether arrays go by
        their own names, and ``order``, the paths of those that Keras lists, in the order of the
        network; or ``outside`` (path and what leads there); or ``error``.
    """
    contents: dict[str, Any] = {"arrays": [], "scattered": [], "foreign": [], "order": []}
    contents |= {"config": None, "named": False}
    try:
        with h5py.File(stream, "r") as file:
            if "model_config" in file.attrs:
                config = file.attrs["model_config"]
                contents["config"] = config.decode() if isinstance(config, bytes) else str(config)
            names = ("layer_names", "layer_names0")  # a long list is in parts
            named = any(name in file.attrs for name in names)
            contents["named"] = named or "model_weights" in file
            outside = _walk(file, contents)
            contents["order"] = [] if outside else _order(file)
    except Exception as error:  # noqa: BLE001 - of any kind, and all of them say the same
        return {"error": f"{type(error).__name__}: {error}"}
    return {"outside": outside} if outside else contents


def _walk(file: Any, contents: dict[str, Any]) -> tuple[str, str] | None:
    waiting = [("", file)]
    seen = 0
    while waiting and seen <= MOST_OBJECTS:
        path, group = waiting.pop()
        for name in group:
            here = f"{path}/{name}" if path else name
            link = group.get(name, getlink=True)
            if not isinstance(link, h5py.HardLink):
                return here, type(link).__name__
            child = group[name]
            seen += 1
            if isinstance(child, h5py.Group):
                waiting.append((here, child))
            elif isinstance(child, h5py.Dataset):
                if child.external or child.is_virtual:
                    return here, "values in another file"
                _note(contents, here, child)
    if waiting:
        message = f"more than {MOST_OBJECTS} objects"
        raise ValueError(message)
    return None


def _order(file: Any) -> list[str]:
    """Return the paths of arrays in the order of the network, as far as Keras 2 has listed them."""
    base = "model_weights/" if "model_weights" in file else ""
    whole = file["model_weights"] if base else file
    return [
        f"{base}{layer}/{weight}"
        for layer in _listed(whole, "layer_names")
        if isinstance(whole.get(layer), h5py.Group)
        for weight in _listed(whole[layer], "weight_names")
    ]


def _listed(group: Any, key: str) -> list[str]:
    """Return a list of names, which Keras writes in numbered parts if it is long."""
    parts = [group.attrs[key]] if key in group.attrs else []
    while f"{key}{len(parts)}" in group.attrs:
        parts.append(group.attrs[f"{key}{len(parts)}"])
    names = [name for part in parts for name in part]
    return [name.decode() if isinstance(name, bytes) else str(name) for name in names]


def _note(contents: dict[str, Any], path: str, dataset: Any) -> None:
    """Note where a dataset lies; a dataset without values lies nowhere."""
    if dataset.dtype.kind not in NUMBERS:
        contents["foreign"].append(path)
        return
    offset, size = dataset.id.get_offset(), dataset.id.get_storage_size()
    if offset is None and dataset.size:
        contents["scattered"].append(path)
        return
    start = offset or 0
    lengths = (0,) if dataset.shape is None else dataset.shape  # None: it has no values at all
    shape = [int(length) for length in lengths]
    contents["arrays"].append((path, dataset.dtype.str, shape, start, start + size))


def _limit_memory(size: int) -> None:
    """Give the process no more memory than a sound file of that size could need."""
    try:
        import resource  # noqa: PLC0415 - not on every system
    except ImportError:
        return
    most = 4 * size + SPARE_MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (most, most))


if __name__ == "__main__":
    everything: BinaryIO = sys.stdin.buffer
    if not everything.seekable():
        everything = io.BytesIO(everything.read())
    _limit_memory(everything.seek(0, io.SEEK_END))
    sys.stdout.write(json.dumps(structure(everything)))

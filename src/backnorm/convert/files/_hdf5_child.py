"""Run as a separate process: an HDF5 file on stdin, its structure as JSON on stdout.

It needs h5py and nothing of backnorm. A link is refused, also a link within the file: Keras does
not write links.
"""

from __future__ import annotations

import json
import sys
from typing import Any, Final

import h5py

__all__ = ["structure"]

MOST_OBJECTS: Final = 1_000_000
"""Damaged groups can contain each other; without this limit the walk would not end."""

SPARE_MEMORY: Final = 1 << 31
"""Addresses for the interpreter, NumPy and HDF5: 0.16 GiB were measured, and a BLAS of many threads
takes more."""


def structure(data: bytes) -> dict[str, Any]:
    """Return all arrays and where they lie, or what is wrong with the file.

    Parameters
    ----------
    data
        The file.

    Returns
    -------
    dict
        ``arrays`` (path, dtype, shape, first and last offset of each), ``scattered`` (paths),
        ``config``, and ``named``, whether arrays go by their own names; or ``outside`` (path and
        what leads there); or ``error``.
    """
    contents: dict[str, Any] = {"arrays": [], "scattered": [], "config": None, "named": False}
    try:
        with h5py.File.in_memory(data) as file:
            if "model_config" in file.attrs:
                config = file.attrs["model_config"]
                contents["config"] = config.decode() if isinstance(config, bytes) else str(config)
            contents["named"] = "layer_names" in file.attrs or "model_weights" in file
            outside = _walk(file, contents)
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


def _note(contents: dict[str, Any], path: str, dataset: Any) -> None:
    """Note where a dataset lies; a dataset without values lies nowhere."""
    offset, size = dataset.id.get_offset(), dataset.id.get_storage_size()
    if offset is None and dataset.size:
        contents["scattered"].append(path)
        return
    start = offset or 0
    shape = [int(length) for length in dataset.shape or (0,)]
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
    everything = sys.stdin.buffer.read()
    _limit_memory(len(everything))
    sys.stdout.write(json.dumps(structure(everything)))

"""A new HDF5 file of weights, in the style of Keras 2, which Keras loads by name."""

from __future__ import annotations

import io
from itertools import chain
from typing import TYPE_CHECKING, Any, Final

import h5py
import numpy as np

from backnorm.convert.files._guard import guard
from backnorm.convert.files._holds import Holds, check_groups, fitting

if TYPE_CHECKING:
    from collections.abc import Sequence

    from backnorm._types import AnyArray
    from backnorm.convert.files.record import ModelFile

__all__ = ["weights_of"]

LARGEST_ATTRIBUTE: Final = 64512
"""Bytes of an attribute: HDF5 allows 64 KiB with its header. Keras writes longer lists in parts."""

HOLDS: Final = Holds(widens=True, axes=32, forbidden="\0", groups=True, longest=LARGEST_ATTRIBUTE)
"""HDF5 itself allows 32 axes."""

NAMELESS: Final = "norm"
"""The group of a layer without a name."""


def weights_of(model: ModelFile) -> bytes:
    """Write the layers and all other arrays of a model as a file of weights.

    Parameters
    ----------
    model
        With layers of Keras.

    Returns
    -------
    bytes
        The file: a group for each layer, and in it the arrays under their full names.

    Raises
    ------
    FileError
        If HDF5 cannot hold an array or its name.
    """
    file = model.path.name
    of_layers = (
        (f"{layer.name or NAMELESS}/{field}", array)
        for layer in model.layers
        for field, array in layer.state.items()
    )
    arrays = fitting(file, chain(of_layers, model.others.items()), HOLDS)
    groups: dict[str, dict[str, AnyArray]] = {layer.name or NAMELESS: {} for layer in model.layers}
    for name, array in arrays.items():
        group = name.rpartition("/")[0]
        groups.setdefault(group if group in groups else name.partition("/")[0], {})[name] = array
    check_groups(file, [f"{group}/{name}" for group, named in groups.items() for name in named])
    stream = io.BytesIO()
    with guard(file, "h5py"), h5py.File(stream, "w") as whole:
        _list(whole, "layer_names", list(groups))
        whole.attrs["backend"] = b"numpy"
        whole.attrs["keras_version"] = b"2.0.0"
        for group, named in groups.items():
            node = whole.require_group(group)
            _list(node, "weight_names", list(named))
            for name, array in named.items():
                node.create_dataset(name, data=array)
    return stream.getvalue()


def _list(node: Any, key: str, names: Sequence[str]) -> None:
    """Write a list of names as an attribute, in as many parts as its size needs, as Keras does."""
    texts = np.array([name.encode() for name in names] or np.empty(0, "S1"))
    rows = max(LARGEST_ATTRIBUTE // texts.dtype.itemsize, 1)
    if len(texts) <= rows:
        node.attrs[key] = texts
        return
    for index, start in enumerate(range(0, len(texts), rows)):
        node.attrs[f"{key}{index}"] = texts[start : start + rows]

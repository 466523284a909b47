"""PyTorch's files of tensors: `.pt` and `.pth`, as `torch.save` writes them and has written them.

No torch is needed to read them and to write over them; a new file is written by torch.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from backnorm.convert.files._dtypes import BEYOND_NUMPY, dtype_named
from backnorm.convert.files._flat import DIALECTS, find_layers, spelled
from backnorm.convert.files._holds import Holds
from backnorm.convert.files._recognized import ARCHIVE, description_of, is_legacy_torch
from backnorm.convert.files._slots import stored
from backnorm.convert.files.folding._state import fold_state
from backnorm.convert.files.record import ModelFile
from backnorm.convert.files.registry import Format, check_new, register
from backnorm.convert.files.torch._archive import ArchiveStorages
from backnorm.convert.files.torch._legacy import LegacyStorages
from backnorm.convert.files.torch._safe import is_safe
from backnorm.convert.files.torch._tree import tree_of
from backnorm.convert.files.torch._values import stored_values, write_values
from backnorm.errors import FileError, WriteError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from backnorm._types import AnyArray
    from backnorm.convert.files._budget import Source
    from backnorm.convert.files.torch._tensors import TorchTensor
    from backnorm.convert.files.torch._values import Storages

__all__ = ["FORMAT"]

HOLDS: Final = Holds(
    dtypes=(
        *("bool", "uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64"),
        *("float16", "float32", "float64", "complex64", "complex128", *BEYOND_NUMPY),
    )
)


@dataclass(frozen=True, slots=True, eq=False)
class _Checkpoint:
    """The storages of the file that was read, and the tensor of each layer and field."""

    storages: Storages
    tensors: Mapping[tuple[str, str], TorchTensor]
    arrays: Mapping[tuple[str, str], AnyArray]


def read(source: Source) -> ModelFile:
    """Read all tensors of a file, and the layers among them."""
    storages = _storages(source)
    pickle = storages.pickle()
    if not source.inspected:
        for name in pickle.names:
            if not is_safe(name):
                raise FileError.runs_code(source.path.name, "", name)
    tree = tree_of(source.budget, storages, pickle)
    named = find_layers(tree.arrays)
    state = {(layer.name, field): a for layer in named.layers for field, a in layer.state.items()}
    tensors = {where: tree.tensors[key] for where, key in named.keys.items()}
    return ModelFile(
        source.path,
        "torch",
        named.layers,
        named.others,
        tree.notes,
        _Checkpoint(storages, tensors, state),
        named.kernels,
        order=tuple(tree.tensors),
    )


def _storages(source: Source) -> Storages:
    if bytes(source.content.part(0, len(ARCHIVE))) == ARCHIVE:
        return ArchiveStorages.of(source)
    if is_legacy_torch(source.content):
        return LegacyStorages.of(source)
    looks_like = description_of(source.path.name, source.content)
    raise FileError.other_content(source.path.name, "a file of torch.save", looks_like)


def write(model: ModelFile) -> bytes:
    """Write over the values of the file that was read, or let torch write a new state_dict."""
    if isinstance(model.content, _Checkpoint):
        return _written_over(model, model.content)
    arrays = spelled(model, HOLDS)
    check_new("torch")
    new: bytes = importlib.import_module("backnorm.torch.files").saved(model.path.name, arrays)
    return new


def _written_over(model: ModelFile, old: _Checkpoint) -> bytes:
    """Write the values that differ into their storages, and see that all values are there then."""
    storages = old.storages
    wanted = list(_wanted(model, old))
    changed: dict[str, bytearray] = {}
    for where, place, values in wanted:
        tensor = old.tensors[where]
        if values.tobytes() != old.arrays[where].tobytes():
            key = tensor.part.key
            if key not in changed:
                changed[key] = bytearray(storages.part(place, key, 0, storages.size(place, key)))
            write_values(changed[key], tensor, values, big_endian=storages.big_endian)
    for where, place, values in wanted:
        tensor = old.tensors[where]
        if tensor.part.key in changed:
            there = stored_values(changed[tensor.part.key], tensor, big_endian=storages.big_endian)
            if there.astype(values.dtype).tobytes() != values.tobytes():
                got = "values that differ from those of another array in the same place"
                raise WriteError.no_room(model.path.name, place, got)
    return storages.replaced({key: bytes(data) for key, data in changed.items()})


def _wanted(model: ModelFile, old: _Checkpoint) -> Iterator[tuple[tuple[str, str], str, AnyArray]]:
    """Yield layer and field, the words for them, and the values as the file will hold them."""
    for layer in model.layers:
        for field, array in layer.state.items():
            place = f"layer {layer.name}, {field}"
            tensor = old.tensors.get((layer.name, field))
            if tensor is None:
                raise WriteError.no_room(model.path.name, place, "an array that was not there")
            dtype = dtype_named(tensor.dtype)
            data = stored(model.path.name, place, array, dtype, tensor.shape)
            values = np.frombuffer(data, dtype) if data else np.empty(0, dtype)
            yield (layer.name, field), place, values.reshape(tensor.shape)


FORMAT: Final = Format("torch", DIALECTS, read, write, fold=fold_state)

register(FORMAT)

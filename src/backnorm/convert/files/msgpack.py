"""Flax: .msgpack, as flax.serialization writes it.

A tree of maps whose leaves are arrays, each an extension of MessagePack's: shape, type and bytes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import msgpack
import numpy as np

from backnorm.convert.files._budget import OVERHEAD, Budget
from backnorm.convert.files._content import InMemory
from backnorm.convert.files._dtypes import BEYOND_NUMPY, dtype_named
from backnorm.convert.files._flat import find_layers, spelled, spellings_of
from backnorm.convert.files._guard import guard
from backnorm.convert.files._holds import NUMBERS, Holds, check_groups
from backnorm.convert.files._slots import Slot, array_in, stored
from backnorm.convert.files.record import ModelFile
from backnorm.convert.files.registry import Format, register
from backnorm.errors import FileError, WriteError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from backnorm._types import AnyArray
    from backnorm.convert.files._budget import Source

__all__ = ["FORMAT"]

ARRAY: Final = 1
"""Flax's number for the extension that holds an array."""

CHUNKED: Final = "__msgpack_chunked_array__"
"""The key that says that a map is an array of more than 1 GiB in pieces."""

DEEPEST: Final = 256

ITEM: Final = 64
"""Bytes of memory for an entry of a list or of a map, besides what it holds."""


@dataclass(frozen=True, slots=True, eq=False)
class _Tree:
    """The bytes that were read, and by layer and field the keys that lead to each array."""

    data: bytes
    paths: Mapping[tuple[str, str], tuple[Any, ...]]


def read(source: Source) -> ModelFile:
    """Read all arrays of a .msgpack file, and the layers among them."""
    path, budget, data = source.path, source.budget, source.data
    arrays: dict[str, AnyArray] = {}
    paths: dict[str, tuple[Any, ...]] = {}
    notes = []
    for keys, leaf in _leaves(path.name, _unpacked(budget, data)):
        name = "/".join(map(str, keys))
        if name in paths:
            raise FileError.malformed(path.name, name, "be one array", "two of that name")
        paths[name] = keys
        if leaf is None:
            notes.append(f"{name} is in pieces; it is carried through in this format only")
        else:
            arrays[name] = _array(budget, name, leaf)
    by_name = find_layers(arrays, spellings_of("flax"))
    tree = _Tree(data, {where: paths[key] for where, key in by_name.keys.items()})
    layers, others = by_name.layers, by_name.others
    return ModelFile(
        path, "msgpack", layers, others, tuple(notes), tree, by_name.kernels, ordered=False
    )


def _unpacked(budget: Budget, data: bytes) -> Any:
    """Unpack a message; its lengths are held against the bytes that are there.

    A list or a map may have a single byte in the file, and some hundred in memory.
    """
    place = "the message"

    def counted(kind: Callable[[Any], Any]) -> Callable[[Any], Any]:
        def make(items: Any) -> Any:
            budget.take(place, OVERHEAD + ITEM * len(items))
            return kind(items)

        return make

    budget.take(place, len(data))
    with guard(budget.file, "msgpack"):
        return msgpack.unpackb(
            data,
            strict_map_key=False,
            list_hook=counted(list),
            object_pairs_hook=counted(dict),
        )


def _leaves(file: str, tree: Any) -> Iterator[tuple[tuple[Any, ...], bytes | None]]:
    """Yield each array's keys and bytes; None for one in pieces. Other leaves are passed over."""
    waiting: list[tuple[tuple[Any, ...], Any]] = [((), tree)]
    while waiting:
        keys, node = waiting.pop()
        if len(keys) > DEEPEST:
            raise FileError.malformed(file, "", f"be nested at most {DEEPEST} deep", "more")
        if isinstance(node, dict) and CHUNKED in node:
            yield keys, None
        elif isinstance(node, dict):
            waiting += [((*keys, key), child) for key, child in reversed(node.items())]
        elif isinstance(node, msgpack.ExtType) and node.code == ARRAY:
            yield keys, node.data


def _header(budget: Budget, name: str, leaf: bytes) -> tuple[tuple[int, ...], np.dtype, bytes]:
    file = budget.file
    parts = _unpacked(budget, leaf)
    if not isinstance(parts, list) or len(parts) != 3:  # noqa: PLR2004 - shape, type, bytes
        raise FileError.malformed(file, name, "be shape, type and bytes", type(parts).__name__)
    shape, type_, values = parts
    whole = isinstance(shape, list) and all(type(length) is int for length in shape)
    if not whole or not isinstance(type_, str) or not isinstance(values, bytes):
        raise FileError.malformed(file, name, "be shape, type and bytes", repr(parts)[:60])
    if type_ not in BEYOND_NUMPY and type_ not in _known():
        raise FileError.unknown_dtype(file, name, type_[:40], ("float32", "float64", "bfloat16"))
    return tuple(shape), dtype_named(type_), values


def _known() -> set[str]:
    return {np.dtype(code).name for code in np.typecodes["All"] if np.dtype(code).kind in NUMBERS}


HOLDS: Final = Holds(dtypes=(*sorted(_known()), *BEYOND_NUMPY))


def _array(budget: Budget, name: str, leaf: bytes) -> AnyArray:
    shape, dtype, values = _header(budget, name, leaf)
    return array_in(budget, name, InMemory(values), Slot(dtype, shape, ((0, len(values)),)))


def write(model: ModelFile) -> bytes:
    """Write over the arrays of the tree that was read, or make a new one."""
    if not isinstance(model.content, _Tree):
        return _new(model)
    budget = Budget(model.path.name, math.inf)  # the reader has let it pass
    tree = _unpacked(budget, model.content.data)
    for layer in model.layers:
        for field, array in layer.state.items():
            place = f"layer {layer.name}, {field}"
            keys = model.content.paths.get((layer.name, field))
            if keys is None:
                raise WriteError.no_room(model.path.name, place, "an array that was not there")
            node = tree
            for key in keys[:-1]:
                node = node[key]
            shape, dtype, _ = _header(budget, place, node[keys[-1]].data)
            content = stored(model.path.name, place, array, dtype, shape)
            node[keys[-1]] = _packed(shape, dtype, content)
    return _message(tree)


def _new(model: ModelFile) -> bytes:
    tree: dict[str, Any] = {}
    arrays = spelled(model, HOLDS)
    check_groups(model.path.name, arrays)
    for name, array in arrays.items():
        *groups, last = name.split("/")
        if len(groups) >= DEEPEST:
            requirement = f"have at most {DEEPEST} parts between '/'"
            raise WriteError.unwritable_name(model.path.name, name, requirement)
        node = tree
        for group in groups:
            node = node.setdefault(group, {})
        node[last] = _packed(array.shape, array.dtype, array.tobytes())
    return _message(tree)


def _packed(shape: tuple[int, ...], dtype: np.dtype, values: bytes) -> msgpack.ExtType:
    assert len(values) == math.prod(shape) * dtype.itemsize  # noqa: S101 - callers made them so
    return msgpack.ExtType(ARRAY, _message([list(shape), dtype.name, values]))


def _message(tree: Any) -> bytes:
    return bytes(msgpack.packb(tree))


FORMAT: Final = Format("msgpack", ("flax",), read, write)

register(FORMAT)

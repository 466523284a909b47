"""Flax: .msgpack, as flax.serialization writes it.

A tree of maps whose leaves are arrays, each an extension of MessagePack's: shape, type and bytes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import msgpack
import numpy as np

from backnorm.convert.files._dtypes import BEYOND_NUMPY, dtype_named
from backnorm.convert.files._flat import find_layers, spelled, spellings_of
from backnorm.convert.files._guard import guard
from backnorm.convert.files._slots import Slot, array_in, stored
from backnorm.convert.files.record import ModelFile
from backnorm.convert.files.registry import Format, register
from backnorm.errors import FileError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from backnorm._types import AnyArray

__all__ = ["FORMAT"]

ARRAY: Final = 1
"""Flax's number for the extension that holds an array."""

CHUNKED: Final = "__msgpack_chunked_array__"
"""The key that says that a map is an array of more than 1 GiB in pieces."""

KINDS: Final = "biufc"

DEEPEST: Final = 256


@dataclass(frozen=True, slots=True, eq=False)
class _Tree:
    """The bytes that were read, and by layer and field the keys that lead to each array."""

    data: bytes
    paths: Mapping[tuple[str, str], tuple[Any, ...]]


def read(path: Path, data: bytes, net: Path | None) -> ModelFile:  # noqa: ARG001 - no net here
    """Read all arrays of a .msgpack file, and the layers among them."""
    arrays: dict[str, AnyArray] = {}
    paths: dict[str, tuple[Any, ...]] = {}
    notes = []
    for keys, leaf in _leaves(path.name, _unpacked(path.name, data)):
        name = "/".join(map(str, keys))
        if name in paths:
            raise FileError.malformed(path.name, name, "be one array", "two of that name")
        paths[name] = keys
        if leaf is None:
            notes.append(f"{name} is in pieces; it is carried through in this format only")
        else:
            arrays[name] = _array(path.name, name, leaf)
    by_name = find_layers(arrays, spellings_of("flax"))
    tree = _Tree(data, {where: paths[key] for where, key in by_name.keys.items()})
    return ModelFile(path, "msgpack", by_name.layers, by_name.others, tuple(notes), tree)


def _unpacked(file: str, data: bytes) -> Any:
    """Unpack a message; its lengths are held against the bytes that are there."""
    with guard(file, "msgpack"):
        return msgpack.unpackb(data, strict_map_key=False)


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


def _header(file: str, name: str, leaf: bytes) -> tuple[tuple[int, ...], np.dtype, bytes]:
    parts = _unpacked(file, leaf)
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
    return {np.dtype(code).name for code in np.typecodes["All"] if np.dtype(code).kind in KINDS}


def _array(file: str, name: str, leaf: bytes) -> AnyArray:
    shape, dtype, values = _header(file, name, leaf)
    return array_in(file, name, values, Slot(dtype, shape, ((0, len(values)),)))


def write(model: ModelFile) -> bytes:
    """Write over the arrays of the tree that was read, or make a new one."""
    if not isinstance(model.content, _Tree):
        return _new(model)
    tree = _unpacked(model.path.name, model.content.data)
    for layer in model.layers:
        for field, array in layer.state.items():
            place = f"layer {layer.name}, {field}"
            keys = model.content.paths.get((layer.name, field))
            if keys is None:
                raise FileError.no_room(model.path.name, place, "an array that was not there")
            node = tree
            for key in keys[:-1]:
                node = node[key]
            shape, dtype, _ = _header(model.path.name, place, node[keys[-1]].data)
            content = stored(model.path.name, place, array, dtype, shape)
            node[keys[-1]] = _packed(shape, dtype, content)
    return _message(tree)


def _new(model: ModelFile) -> bytes:
    tree: dict[str, Any] = {}
    for name, array in spelled(model).items():
        *groups, last = name.split("/")
        node = tree
        for group in groups:
            node = node.setdefault(group, {})
            if not isinstance(node, dict):
                raise FileError.no_room(model.path.name, name, f"an array already named {group}")
        if last in node:
            raise FileError.no_room(model.path.name, name, "another array of that name")
        node[last] = _packed(array.shape, array.dtype, np.ascontiguousarray(array).tobytes())
    return _message(tree)


def _packed(shape: tuple[int, ...], dtype: np.dtype, values: bytes) -> msgpack.ExtType:
    assert len(values) == math.prod(shape) * dtype.itemsize  # noqa: S101 - callers made them so
    return msgpack.ExtType(ARRAY, _message([list(shape), dtype.name, values]))


def _message(tree: Any) -> bytes:
    return bytes(msgpack.packb(tree))


FORMAT: Final = Format("msgpack", ("flax",), read, write)

register(FORMAT)

"""Tensors in a pickle of PyTorch: which storage holds their values, and where."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from backnorm.convert.files._dtypes import BEYOND_NUMPY, dtype_named
from backnorm.convert.files.torch._pickled import PickledObject, Reference, StorageId
from backnorm.errors import FileError

__all__ = ["STORAGES", "StoragePart", "TorchTensor", "storage_of", "tensor_of", "why_not_plain"]

STORAGES: Final = {
    "DoubleStorage": "float64",
    "FloatStorage": "float32",
    "HalfStorage": "float16",
    "BFloat16Storage": "bfloat16",
    "LongStorage": "int64",
    "IntStorage": "int32",
    "ShortStorage": "int16",
    "CharStorage": "int8",
    "ByteStorage": "uint8",
    "UntypedStorage": "uint8",
    "BoolStorage": "bool",
    "ComplexFloatStorage": "complex64",
    "ComplexDoubleStorage": "complex128",
}
"""PyTorch's name for the storage of each dtype."""

QUANTIZED: Final = {
    "QInt8Storage": 1,
    "QUInt8Storage": 1,
    "QUInt4x2Storage": 1,
    "QUInt2x4Storage": 1,
    "QInt32Storage": 4,
}
"""Storages of dtypes that NumPy does not have, and the bytes of a value: they are passed over."""

DTYPES: Final = frozenset((*STORAGES.values(), "uint16", "uint32", "uint64", *BEYOND_NUMPY))

PLACE: Final = 4
"""The first arguments of a function that makes a tensor: a storage, an offset, lengths, strides."""

TENSORS: Final = {
    "torch._utils._rebuild_tensor": (None, None),
    "torch._utils._rebuild_tensor_v2": (None, 6),
    "torch._utils._rebuild_tensor_v3": (6, 7),
}
"""The functions that make a tensor of a storage, and which argument is its dtype, where that is not
the storage's, and which one says whether its values are conjugated or negated."""

PARAMETERS: Final = (
    "torch._utils._rebuild_parameter",
    "torch._utils._rebuild_parameter_with_state",
    "torch.nn.parameter.Parameter",
)
"""The functions that make a parameter of a tensor, their first argument."""

WITH_ATTRIBUTES: Final = "torch._tensor._rebuild_from_type_v2"
"""The function that calls another one, and gives the tensor attributes."""

WRAPPED: Final = 2
"""A parameter of a tensor with attributes; more is not written."""

NOT_PLAIN: Final = {
    "torch._utils._rebuild_sparse_tensor": "sparse",
    "torch._utils._rebuild_qtensor": "quantized",
    "torch._utils._rebuild_nested_tensor": "nested",
    "torch._utils._rebuild_meta_tensor_no_storage": "without values",
    "torch._utils._rebuild_wrapper_subclass": "without values",
    "torch._utils._rebuild_device_tensor_from_cpu_tensor": "of another device",
    "torch._utils._rebuild_device_tensor_from_numpy": "of another device",
}
"""The functions that make tensors which are not an array in a storage."""


@dataclass(frozen=True, slots=True)
class StoragePart:
    """A storage, or a part of it.

    Attributes
    ----------
    key
        The name of the storage.
    itemsize
        The bytes of a value.
    dtype
        The dtype of its values; empty where NumPy does not have it.
    start, size
        Of the part, in bytes; a size of None for the whole storage.
    """

    key: str
    itemsize: int
    dtype: str
    start: int = 0
    size: int | None = None


@dataclass(frozen=True, slots=True)
class TorchTensor:
    """Where a tensor's values lie.

    Attributes
    ----------
    part
        The storage, or a part of it.
    dtype
        Its dtype, by name.
    offset
        Where it begins in the part, in values.
    shape, strides
        Lengths, and steps in values.
    conjugated, negated
        What is done with the values that are stored.
    """

    part: StoragePart
    dtype: str
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    conjugated: bool = False
    negated: bool = False

    @property
    def reach(self) -> int:
        """How many values of the part it spans from its first to its last."""
        if 0 in self.shape:
            return 0
        steps = zip(self.shape, self.strides, strict=True)
        return 1 + sum((length - 1) * stride for length, stride in steps)


def _unwrapped(node: Any) -> Any:
    """Return what makes the tensor of a parameter, or of a tensor with attributes."""
    for _ in range(WRAPPED):
        if not isinstance(node, PickledObject):
            return node
        arguments = node.arguments
        if node.kind in PARAMETERS and arguments:
            node = arguments[0]
        elif node.kind == WITH_ATTRIBUTES and len(arguments) > 2:  # noqa: PLR2004 - function, type
            function, _, inner = arguments[:3]
            if isinstance(function, Reference) and isinstance(inner, tuple):
                node = PickledObject(function.name, inner)
    return node


def why_not_plain(node: Any) -> str:
    """Return what a tensor is that no array of NumPy can be; empty for all other nodes."""
    node = _unwrapped(node)
    if not isinstance(node, PickledObject):
        return ""
    at, _ = TENSORS.get(node.kind, (None, None))
    if at is not None and len(node.arguments) > at:
        dtype = _dtype(node.arguments[at])
        return "" if dtype in DTYPES else f"of the dtype {dtype}"
    return NOT_PLAIN.get(node.kind, "")


def tensor_of(file: str, place: str, node: Any) -> TorchTensor | None:
    """Return the tensor that a node of a pickle makes; None if it makes something else.

    Parameters
    ----------
    file, place
        For messages.
    node
        What is in the pickle.

    Returns
    -------
    TorchTensor or None
        Not compared with the storage yet.

    Raises
    ------
    FileError
        If it makes a tensor of no storage that PyTorch has.
    """
    node = _unwrapped(node)
    if not isinstance(node, PickledObject) or node.kind not in TENSORS:
        return None
    arguments = node.arguments
    stored, offset, shape, strides = (*arguments, *[None] * PLACE)[:PLACE]
    fits = _whole(shape) and _whole(strides) and len(shape) == len(strides) and _whole((offset,))
    if not isinstance(stored, StorageId) or not fits:
        raise FileError.malformed(file, place, "be a tensor of a storage", "other arguments")
    part = storage_of(file, place, stored)
    at, flags_at = TENSORS[node.kind]
    dtype = part.dtype if at is None else _dtype(arguments[at] if len(arguments) > at else None)
    if dtype not in DTYPES:
        raise FileError.unknown_dtype(file, place, dtype or stored.parts[1].name, sorted(DTYPES))
    flags = arguments[flags_at] if flags_at is not None and len(arguments) > flags_at else None
    done = {key for key in ("conj", "neg") if isinstance(flags, dict) and flags.get(key)}
    return TorchTensor(
        part, dtype, offset, tuple(shape), tuple(strides), "conj" in done, "neg" in done
    )


def _dtype(argument: Any) -> str:
    return argument.name.removeprefix("torch.") if isinstance(argument, Reference) else "no dtype"


def storage_of(file: str, place: str, stored: StorageId) -> StoragePart:
    """Return the storage that a persistent id stands for: its class, key, device, length and part.

    Parameters
    ----------
    file, place
        For messages.
    stored
        What is in the pickle.

    Returns
    -------
    StoragePart
        The whole storage, or the part that the id of an old file tells.

    Raises
    ------
    FileError
        If it is damaged.
    """
    kind, key, view = _parts(stored)
    if kind is None:
        raise FileError.malformed(file, place, "be a tensor of a storage", "other arguments")
    if kind not in STORAGES and kind not in QUANTIZED:
        raise FileError.unknown_dtype(file, place, kind, STORAGES)
    dtype = STORAGES.get(kind, "")
    itemsize = dtype_named(dtype).itemsize if dtype else QUANTIZED[kind]
    if view is None:
        return StoragePart(key, itemsize, dtype)
    return StoragePart(key, itemsize, dtype, view[1] * itemsize, view[2] * itemsize)


def _parts(stored: StorageId) -> tuple[str | None, str, tuple[Any, int, int] | None]:
    """Return class, key and part of a storage; None in place of the class if it is damaged."""
    tag, kind, key = (*stored.parts, None, None, None)[:3]
    view = stored.parts[5] if len(stored.parts) > 5 else None  # noqa: PLR2004 - old files alone
    if view is not None and not (_has_three(view) and _whole(view[1:])):
        return None, "", None
    if tag != "storage" or not isinstance(kind, Reference) or not isinstance(key, str):
        return None, "", None
    return kind.name.rpartition(".")[2], key, view


def _has_three(view: Any) -> bool:
    return isinstance(view, tuple) and len(view) == 3  # noqa: PLR2004 - key, offset, length


def _whole(values: Any) -> bool:
    return isinstance(values, tuple | list) and all(type(v) is int and v >= 0 for v in values)

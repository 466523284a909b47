"""The values of PyTorch's tensors: views of their storages, read and written over."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from backnorm.convert.files._budget import OVERHEAD
from backnorm.convert.files._dtypes import dtype_named
from backnorm.convert.files._guard import guard
from backnorm.convert.files.torch._archive import ArchiveStorages
from backnorm.convert.files.torch._legacy import LegacyStorages
from backnorm.errors import FileError
from backnorm.errors.base import place_in

if TYPE_CHECKING:
    from backnorm._types import AnyArray
    from backnorm.convert.files._budget import Budget
    from backnorm.convert.files.torch._tensors import TorchTensor

__all__ = ["Storages", "check_tensor", "stored_values", "values_of", "write_values"]

Storages: TypeAlias = ArchiveStorages | LegacyStorages
"""Both have the same methods."""


def check_tensor(budget: Budget, name: str, storages: Storages, tensor: TorchTensor) -> None:
    """Refuse a tensor that reaches out of its storage, or needs more memory than is left.

    Strides of 0, as ``expand`` makes them, let a small file claim any amount of memory: values that
    are there more than once count each time, since other formats write them out.

    Parameters
    ----------
    budget
        The bytes that the file may become; a copy takes some.
    name
        The tensor's.
    storages
        Where its values are.
    tensor
        What the file says of it.

    Raises
    ------
    FileError
        If the storage has fewer bytes, or the budget.
    """
    dtype, part = dtype_named(tensor.dtype), tensor.part
    whole = storages.size(name, part.key)
    there = whole if part.size is None else part.size
    if part.start + there > whole:
        raise FileError.too_large(budget.file, name, part.start + there, whole)
    size = math.prod(tensor.shape)
    claimed = (tensor.offset + tensor.reach) * dtype.itemsize
    if claimed > there:
        raise FileError.too_large(budget.file, name, claimed, there)
    repeated = size * dtype.itemsize > there
    copied = repeated or storages.big_endian or tensor.conjugated or tensor.negated
    budget.take(name, OVERHEAD + copied * size * dtype.itemsize)


def values_of(budget: Budget, name: str, storages: Storages, tensor: TorchTensor) -> AnyArray:
    """Return the values of a tensor that was checked, without a copy where that is possible.

    Parameters
    ----------
    budget
        For messages.
    name
        The tensor's.
    storages
        Where its values are.
    tensor
        What the file says of it.

    Returns
    -------
    numpy.ndarray
        Read-only, in the machine's order of bytes.
    """
    data = storages.part(name, tensor.part.key, *_span(tensor))
    with guard(place_in(budget.file, name), "numpy"):
        view = _view(data, tensor, big_endian=storages.big_endian)
        values = _flipped(view.astype(view.dtype.newbyteorder("="), copy=False), tensor)
        values.flags.writeable = False
        return values


def write_values(
    storage: bytearray, tensor: TorchTensor, values: AnyArray, *, big_endian: bool
) -> None:
    """Write the values of a tensor that was read into its storage.

    Parameters
    ----------
    storage
        All bytes of the storage.
    tensor
        The tensor.
    values
        Of its dtype and shape.
    big_endian
        In which order the bytes of a value are.
    """
    start, end = _span(tensor)
    _view(memoryview(storage)[start:end], tensor, big_endian=big_endian)[...] = _flipped(
        values, tensor
    )


def stored_values(storage: bytearray, tensor: TorchTensor, *, big_endian: bool) -> AnyArray:
    """Return the values that a tensor has in a storage; see `write_values`."""
    start, end = _span(tensor)
    return _flipped(_view(storage[start:end], tensor, big_endian=big_endian), tensor)


def _span(tensor: TorchTensor) -> tuple[int, int]:
    """Return the bytes of the storage from the first value to the last."""
    itemsize = dtype_named(tensor.dtype).itemsize
    start = tensor.part.start + tensor.offset * itemsize
    return start, start + tensor.reach * itemsize


def _view(
    data: bytes | bytearray | memoryview, tensor: TorchTensor, *, big_endian: bool
) -> AnyArray:
    """Return what is stored as a view of the bytes, which can be written to if the bytes can."""
    dtype = dtype_named(tensor.dtype)
    if not tensor.reach:
        return np.empty(tensor.shape, dtype)
    steps = [stride * dtype.itemsize for stride in tensor.strides]
    order = dtype.newbyteorder(">" if big_endian else "<")
    return np.ndarray(tensor.shape, order, data, strides=steps)


def _flipped(values: AnyArray, tensor: TorchTensor) -> AnyArray:
    """Conjugate and negate values as the tensor says; once more gives what is stored."""
    values = np.conj(values) if tensor.conjugated else values
    return np.asarray(np.negative(values) if tensor.negated else values)

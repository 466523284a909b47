"""One tensor of an ONNX model, its values inside or in a file beside."""

from __future__ import annotations

import math
from pathlib import PureWindowsPath
from typing import TYPE_CHECKING, Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from backnorm.convert.files._guard import guard
from backnorm.convert.files._slots import Slot, array_in
from backnorm.errors import FileError

if TYPE_CHECKING:
    from pathlib import Path

    from backnorm._types import AnyArray

__all__ = ["read_tensor"]


def read_tensor(path: Path, place: str, tensor: Any) -> AnyArray:
    """Read a tensor's values.

    Parameters
    ----------
    path
        Of the model.
    place
        For messages.
    tensor
        The ``TensorProto``.

    Returns
    -------
    numpy.ndarray
        Its values.

    Raises
    ------
    FileError
        If it claims more than is there, is of no known type, or lies outside of the folder.
    """
    shape = tuple(tensor.dims)
    if tensor.data_type not in TensorProto.DataType.values() or not tensor.data_type:
        raise FileError.unknown_dtype(path.name, place, tensor.data_type, ("FLOAT", "DOUBLE"))
    if tensor.data_type in (TensorProto.STRING, TensorProto.UNDEFINED):
        raise FileError.unknown_dtype(path.name, place, "STRING", ("FLOAT", "DOUBLE"))
    dtype = np.dtype(helper.tensor_dtype_to_np_dtype(tensor.data_type))
    if tensor.data_location == TensorProto.EXTERNAL:
        return _beside(path, place, tensor, dtype, shape)
    there = tensor.ByteSize()
    if math.prod(shape) > 2 * there or any(
        length < 0 for length in shape
    ):  # 4-bit types: two a byte
        raise FileError.too_large(path.name, place, math.prod(shape) * dtype.itemsize, there)
    with guard(path.name, "onnx"):
        return numpy_helper.to_array(tensor)


def _beside(
    path: Path, place: str, tensor: Any, dtype: np.dtype, shape: tuple[int, ...]
) -> AnyArray:
    entry = {item.key: item.value for item in tensor.external_data}
    file = _inside(path, place, entry.get("location", ""))
    try:
        offset = int(entry.get("offset") or 0)
        size = math.prod(shape) * dtype.itemsize
        length = int(entry.get("length") or size)
    except ValueError as error:
        raise FileError.malformed(path.name, place, "have whole offsets", str(error)) from error
    try:
        there = file.stat().st_size
        if offset < 0 or length != size or offset + length > there:
            raise FileError.too_large(path.name, place, max(offset, 0) + max(length, size), there)
        with file.open("rb") as stream:
            stream.seek(offset)
            data = stream.read(length)
    except OSError as error:
        raise FileError.unreadable(file.name, error) from error
    return array_in(path.name, place, data, Slot(dtype, shape, ((0, len(data)),)))


def _inside(path: Path, place: str, location: str) -> Path:
    """Return the file beside, but none that is elsewhere, also not by way of a link."""
    if not location or "\0" in location or PureWindowsPath(location).drive:
        raise FileError.outside(path.name, place, location)
    folder = path.parent.resolve()
    file = folder / location
    if not file.resolve().is_relative_to(folder):
        raise FileError.outside(path.name, place, location)
    return file

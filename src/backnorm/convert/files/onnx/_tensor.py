"""The tensors of an ONNX model, their values inside or in a file beside."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from backnorm.convert.files._budget import OVERHEAD
from backnorm.convert.files._content import InMemory
from backnorm.convert.files._guard import guard
from backnorm.convert.files._regular import beside, open_regular
from backnorm.convert.files._slots import Slot, array_in
from backnorm.errors import FileError

if TYPE_CHECKING:
    from pathlib import Path

    from backnorm._types import AnyArray
    from backnorm.convert.files._budget import Budget

__all__ = ["TensorReader"]


@dataclass(frozen=True, slots=True)
class TensorReader:
    """Reads tensors; several that have the same place in a file beside share one array's memory.

    Attributes
    ----------
    path
        Of the model.
    budget
        The bytes that it may become; a file beside adds to them.
    """

    path: Path
    budget: Budget
    _regions: dict[tuple[int, int, int, int], bytes] = field(default_factory=dict)
    _beside: set[tuple[int, int]] = field(default_factory=set)

    def read(self, place: str, tensor: Any) -> AnyArray:
        """Read a tensor's values.

        Parameters
        ----------
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
        file, shape = self.path.name, tuple(tensor.dims)
        if tensor.data_type not in TensorProto.DataType.values() or not tensor.data_type:
            raise FileError.unknown_dtype(file, place, tensor.data_type, ("FLOAT", "DOUBLE"))
        if tensor.data_type == TensorProto.STRING:
            raise FileError.unknown_dtype(file, place, "STRING", ("FLOAT", "DOUBLE"))
        dtype = np.dtype(helper.tensor_dtype_to_np_dtype(tensor.data_type))
        size = math.prod(shape) * dtype.itemsize
        if tensor.data_location == TensorProto.EXTERNAL:
            data = self._region(place, tensor, size)
            slot = Slot(dtype, shape, ((0, len(data)),))
            return array_in(self.budget, place, InMemory(data), slot)
        there = tensor.ByteSize()
        # 4-bit types have two values in a byte.
        if math.prod(shape) > 2 * there or any(length < 0 for length in shape):
            raise FileError.too_large(file, place, size, there)
        self.budget.take(place, OVERHEAD + size + there)
        with guard(file, "onnx"):
            return numpy_helper.to_array(tensor)

    def _region(self, place: str, tensor: Any, size: int) -> bytes:
        """Return the bytes of a tensor in a file beside."""
        entry = {item.key: item.value for item in tensor.external_data}
        file = beside(self.path, place, entry.get("location", ""))
        try:
            offset = int(entry.get("offset") or 0)
            length = int(entry.get("length") or size)
        except ValueError as error:
            reason = str(error)
            raise FileError.malformed(
                self.path.name, place, "have whole offsets", reason
            ) from error
        with open_regular(file) as stream:
            state = os.fstat(stream.fileno())
            which, there = (state.st_dev, state.st_ino), state.st_size
            if offset < 0 or length != size or offset + length > there:
                claimed = max(offset, 0) + max(length, size)
                raise FileError.too_large(self.path.name, place, claimed, there)
            if which not in self._beside:
                self._beside.add(which)
                self.budget.grow(there)
            key = (*which, offset, length)
            if key not in self._regions:
                self.budget.take(place, length)
                stream.seek(offset)
                self._regions[key] = stream.read(length)
        return self._regions[key]

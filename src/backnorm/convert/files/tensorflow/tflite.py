"""TensorFlow Lite: .tflite, a graph in which batch norm is folded into other operators."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

import numpy as np

from backnorm.convert.files._content import InMemory
from backnorm.convert.files._slots import Slot, array_in
from backnorm.convert.files.record import ModelFile
from backnorm.convert.files.registry import Format, register
from backnorm.convert.files.tensorflow._flatbuffer import FlatTable
from backnorm.errors import FileError

if TYPE_CHECKING:
    from backnorm._types import AnyArray
    from backnorm.convert.files._budget import Source

__all__ = ["FORMAT"]

MAGIC: Final = b"TFL3"
MAGIC_AT: Final = 4

CODES, GRAPHS, BUFFERS = 1, 2, 4
"""Fields of a model."""

OLD_CODE, CODE = 0, 3
"""Fields of an operator's code; a code above 127 is in the newer field alone."""

TENSORS, OPERATORS = 0, 3
"""Fields of a graph."""

SHAPE, TYPE, BUFFER, NAME = 0, 1, 2, 3
"""Fields of a tensor."""

LISTED: Final = {
    3: "CONV_2D",
    4: "DEPTHWISE_CONV_2D",
    67: "TRANSPOSE_CONV",
    132: "CONV_3D",
    9: "FULLY_CONNECTED",
    18: "MUL",
    0: "ADD",
    41: "SUB",
    42: "DIV",
    76: "RSQRT",
}
"""The operators that batch norm is folded into or written as, by their codes."""

DTYPES: Final = {
    0: "<f4",
    1: "<f2",
    2: "<i4",
    3: "u1",
    4: "<i8",
    6: "?",
    7: "<i2",
    8: "<c8",
    9: "i1",
    10: "<f8",
    11: "<c16",
    12: "<u8",
    15: "<u4",
    16: "<u2",
}
"""NumPy's code for the number of each type; text, variants and 4-bit integers have none."""


def read(source: Source) -> ModelFile:
    """Read the constant tensors of a graph, and count the operators."""
    file, data = source.path.name, source.data
    if data[MAGIC_AT : MAGIC_AT + len(MAGIC)] != MAGIC:
        got = repr(data[MAGIC_AT : MAGIC_AT + len(MAGIC)])
        raise FileError.malformed(file, "bytes 4 to 8", f"be {MAGIC.decode()}", got)
    model = FlatTable.root(source.budget, data)
    codes = [
        max(code.scalar(OLD_CODE, "b"), code.scalar(CODE, "i")) for code in model.tables(CODES)
    ]
    buffers = [buffer.vector(0) for buffer in model.tables(BUFFERS)]
    counts: Counter[int] = Counter()
    arrays: dict[str, AnyArray] = {}
    left = 0
    for graph in model.tables(GRAPHS):
        for operator in graph.tables(OPERATORS):
            index = operator.scalar(0, "I")
            counts[codes[index] if index < len(codes) else -1] += 1
        for tensor in graph.tables(TENSORS):
            left += not _collect(source, tensor, buffers, arrays)
    notes = (f"{left} tensors of text or of 4-bit numbers are not read",) if left else ()
    return ModelFile(source.path, "tflite", (), arrays, notes, folded=_folded(counts))


def _collect(
    source: Source, tensor: FlatTable, buffers: list[tuple[int, int]], arrays: dict[str, AnyArray]
) -> bool:
    """Add a tensor if it is constant, and return False if its type has no values for NumPy."""
    index = tensor.scalar(BUFFER, "I")
    start, size = buffers[index] if index < len(buffers) else (0, 0)
    if not size:
        return True
    code = DTYPES.get(tensor.scalar(TYPE, "b"))
    if code is None:
        return False
    name = tensor.text(NAME) or f"tensor {len(arrays)}"
    name = name if name not in arrays else f"{name} ({len(arrays)})"
    shape = tuple(tensor.numbers(SHAPE, "i"))
    if start + size > len(source.content):
        raise FileError.truncated(source.path.name, name, size, len(source.content) - start)
    slot = Slot(np.dtype(code), shape, ((start, start + size),))
    arrays[name] = array_in(source.budget, name, InMemory(tensor.data), slot)
    return True


def _folded(counts: Counter[int]) -> str:
    there = ", ".join(f"{counts[code]} {name}" for code, name in LISTED.items() if counts[code])
    others = sum(count for code, count in counts.items() if code not in LISTED)
    if not there:
        return ""
    return f"the graph has {there} and {others} other operators; TensorFlow Lite folds batch norm"


FORMAT: Final = Format("tflite", (), read, None, makes_new=False)

register(FORMAT)

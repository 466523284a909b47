"""Parquet: columns of numbers, in batches of rows.

A column of numbers is one channel. A column of lists of one length is an array (rows, length).
Other columns, such as texts and dates, are left out. What is null counts nowhere.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa
from pyarrow import parquet

from backnorm.errors import FileError
from backnorm.moments.sources.piece import BYTES, Piece, moments_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["pieces"]

MOST_ROWS: Final = 1 << 20


def pieces(path: Path, channel_axis: int) -> Iterator[Piece]:
    """Yield the moments of each column, batch by batch."""
    try:
        with parquet.ParquetFile(path) as file:
            lengths = {field.name: _length(field.type) for field in file.schema_arrow}
            names = [name for name, length in lengths.items() if length]
            row = sum(8 * lengths[name] for name in names)
            rows = max(1, min(MOST_ROWS, BYTES // max(row, 1)))
            for batch in file.iter_batches(rows, columns=names):
                for name, column in zip(names, batch.columns, strict=True):
                    yield Piece(name, _moments(column, channel_axis), column.nbytes)
    except pa.ArrowException as error:
        raise FileError.library(path.name, "pyarrow", error) from error


def _length(kind: Any) -> int:
    """Return how many numbers a value of a column has; 0 for what is not made of numbers."""
    if pa.types.is_fixed_size_list(kind):
        return int(kind.list_size) * _length(kind.value_type)
    types = pa.types
    return int(types.is_integer(kind) or types.is_floating(kind) or types.is_boolean(kind))


def _moments(column: Any, channel_axis: int) -> Any:
    column = column.drop_null()
    shape = [len(column)]
    while pa.types.is_fixed_size_list(column.type):
        shape.append(column.type.list_size)
        column = column.flatten()
    if column.null_count:
        raise pa.ArrowInvalid(NULL_IN_LIST)
    values = column.to_numpy(zero_copy_only=False).reshape(shape)
    if len(shape) == 1:
        return moments_of(values[:, None], 1)
    return moments_of(values, channel_axis)


NULL_IN_LIST: Final = "a list has a null among its numbers"

"""The dialects. A new dialect is a file with its row, and its name in the list below."""

from __future__ import annotations

from functools import lru_cache
from importlib import import_module
from typing import TYPE_CHECKING, Final

from backnorm.errors import UnknownNameError

if TYPE_CHECKING:
    from backnorm.dialects.columns import Row

__all__ = ["DIALECTS", "row_of"]

DIALECTS: Final = (
    "caffe",
    "caffe-nvidia",
    "mxnet",
    "mxnet-cudnn",
    "torch",
    "keras",
    "tf-fused",
    "flax",
    "haiku",
    "equinox-ema",
    "equinox-batch",
    "onnx-9",
    "onnx-14",
    "onnx-15",
    "chainer",
    "paddle",
    "mindspore",
    "tinygrad",
    "mlx",
    "cudnn",
    "inplace-abn",
)
"""Their names. The row of "some-name" is SOME_NAME in rows/some_name.py."""


def row_of(name: str) -> Row:
    """Return the row of a dialect; its file is read when it is first asked for.

    Raises
    ------
    UnknownNameError
        No dialect has that name.
    """
    if name not in DIALECTS:
        raise UnknownNameError.choice("dialect", name, DIALECTS)
    return _row(name)


@lru_cache
def _row(name: str) -> Row:
    stem = name.replace("-", "_")
    row: Row = getattr(import_module(f"backnorm.dialects.rows.{stem}"), stem.upper())
    return row

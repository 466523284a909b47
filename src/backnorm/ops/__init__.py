"""The public functions of the engine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from backnorm.ops._usual import compare
from backnorm.ops.backward import batch_norm_backward
from backnorm.ops.forward import batch_norm
from backnorm.ops.higher_order import batch_norm_double_backward, batch_norm_jvp

if TYPE_CHECKING:
    from types import CodeType

__all__ = [
    "batch_norm",
    "batch_norm_backward",
    "batch_norm_double_backward",
    "batch_norm_jvp",
]


def _arguments(code: CodeType) -> tuple[str, ...]:
    """Return what the C++ part is given: all but the mask, with which no call is usual."""
    names = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
    return tuple(name for name in names if name != "mask")


compare({f.__name__: _arguments(f.__code__) for f in (batch_norm, batch_norm_backward)})

"""The public functions of the engine."""

from __future__ import annotations

from backnorm.ops.backward import batch_norm_backward
from backnorm.ops.forward import batch_norm
from backnorm.ops.higher_order import batch_norm_double_backward, batch_norm_jvp

__all__ = [
    "batch_norm",
    "batch_norm_backward",
    "batch_norm_double_backward",
    "batch_norm_jvp",
]

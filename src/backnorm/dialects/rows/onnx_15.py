"""ONNX's BatchNormalization since opset 15."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from backnorm.dialects.rows.onnx_14 import ONNX_14

__all__ = ["ONNX_15"]

ONNX_15: Final = replace(
    ONNX_14,
    name="onnx-15",
    title="ONNX opset 15, BatchNormalization",
    traps=(
        *ONNX_14.traps,
        (
            "scale and B, and the statistics, may differ from x in dtype since this opset; "
            "with a 16-bit x they should be float32."
        ),
    ),
)

"""ONNX's BatchNormalization of opsets 9 to 13."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from backnorm.dialects.columns import Array, Fact
from backnorm.dialects.rows.onnx_14 import ONNX_14

__all__ = ["ONNX_9"]

_SPEC = "onnx/defs/nn/old.cc, BatchNormalization-9"
_RUNTIME = "onnxruntime/core/providers/cpu/nn/batch_norm.h"
_LIVE = "tests/with_frameworks/test_onnx.py"

ONNX_9: Final = replace(
    ONNX_14,
    name="onnx-9",
    title="ONNX opset 9, BatchNormalization",
    source="onnx at f7546912: onnx/defs/nn; onnxruntime 1.32.0 ran on the CPU",
    traps=(
        "The operator has no training_mode: a node with more than one output is in training.",
        "The text does not say which variance is kept; onnxruntime keeps the biased one.",
        "The fourth and fifth outputs are the mean and, in onnxruntime, 1/std of the batch.",
        (
            "The reference evaluator blends in the statistics of the batch even in inference "
            "(issue 5799 there), so this opset is not compared with it."
        ),
        "Opset 7 also has spatial=0, one statistic per position, which is not batch norm here.",
    ),
    momentum=Fact(ONNX_14.momentum.value, _SPEC),
    momentum_weighs=Fact("old", f"{_SPEC}; {_RUNTIME}"),
    running_var=Fact("biased", f"{_RUNTIME}; {_SPEC} does not say; {_LIVE}"),
    updates_in=Fact("returned", f"{_SPEC}: outputs 2 and 3"),
    arrays=Fact(
        (
            Array("scale", "gamma"),
            Array("B", "beta"),
            Array("mean", "mean"),
            Array("var", "var"),
        ),
        f"{_SPEC}; {_LIVE}",
    ),
)

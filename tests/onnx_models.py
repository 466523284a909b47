"""ONNX models with one normalization or several, as exporters and people write them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from backnorm._types import AnyArray

__all__ = ["CHAIN", "chain_of", "constants", "node", "save_model"]


CHAIN: tuple[tuple[str, str, str], ...] = (
    ("ReduceMean", "x axes", "mean"),
    ("Sub", "x mean", "d"),
    ("Pow", "d two", "square"),
    ("ReduceMean", "square axes", "var"),
    ("Add", "var eps", "raised"),
    ("Sqrt", "raised", "root"),
    ("Div", "d root", "x_hat"),
    ("Mul", "x_hat gamma", "scaled"),
    ("Add", "scaled beta", "y"),
)
"""Layer normalization as exporters write it: operator, inputs and output."""


def node(operator: str, inputs: str, outputs: str, **attributes: Any) -> Any:
    """Make a node, named after its first output."""
    names = outputs.split()
    return helper.make_node(operator, inputs.split(), names, name=f"/{names[0]}", **attributes)


def chain_of(*lines: tuple[str, str, str]) -> list[Any]:
    """Make the nodes of a chain: the lines of `CHAIN`, with those of the same output replaced."""
    other = {output: (operator, inputs, output) for operator, inputs, output in lines}
    return [node(*other.pop(line[2], line)) for line in CHAIN]


def constants(
    channels: int = 6, dtype: type[np.generic] = np.float32, **others: Any
) -> dict[str, AnyArray]:
    """Return what the nodes of `CHAIN` read beside x."""
    values = {"two": 2.0, "eps": 1e-5, **others}
    found = {name: np.asarray(value, dtype) for name, value in values.items()}
    parameters = {"gamma": np.ones(channels) + 0.1, "beta": np.zeros(channels) + 0.2}
    found |= {name: value.astype(dtype) for name, value in parameters.items() if name not in found}
    return {"axes": np.array([-1]), **found}


def save_model(
    path: Path,
    nodes: Sequence[Any],
    tensors: Mapping[str, AnyArray],
    *,
    shape: Sequence[object] = ("N", 5, 6),
    dtype: int = onnx.TensorProto.FLOAT,
    opset: int = 18,
) -> str:
    """Save a graph from x to y; return its path as text."""
    ends = [helper.make_tensor_value_info(name, dtype, list(shape)) for name in "xy"]
    held = [numpy_helper.from_array(np.asarray(value), name) for name, value in tensors.items()]
    graph = helper.make_graph(list(nodes), "net", ends[:1], ends[1:], held)
    opsets = [helper.make_opsetid("", opset)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=10 if opset < 23 else 11)
    onnx.checker.check_model(model)
    onnx.save(model, path)
    return str(path)

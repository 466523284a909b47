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

__all__ = ["CHAIN", "chain_of", "constants", "group_chain", "node", "save_model"]


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


def group_chain(
    *, last: bool, inside: bool, eps: float = 1e-3, groups: int = 3
) -> tuple[list[Any], dict[str, AnyArray]]:
    """Make a group normalization of (N, 8, 8, 6) or (N, 6, 8, 8), and its tensors.

    As Keras exports it: a reshape, whose target is computed from the number of samples, splits the
    channels, and gamma and beta stand inside, folded with the root, or behind the reshape back.
    """
    split, each = [groups, 6 // groups], (6,) if last else (6, 1, 1)
    nodes = [
        node("Shape", "x", "shape"),
        node("Gather", "shape zero", "n"),
        node("Unsqueeze", "n first", "samples"),
        node("Concat", "samples others", "target", axis=0),
        node("Reshape", "x target", "r"),
        node("ReduceMean", "r axes", "mean"),
        node("Sub", "r mean", "d"),
        node("Mul", "d d", "square"),
        node("ReduceMean", "square axes", "var"),
        node("Add", "var eps", "raised"),
        node("Sqrt", "raised", "root"),
        node("Reciprocal", "root", "inverse"),
    ]
    if inside:
        each = (1, 1, 1, *split) if last else (1, *split, 1, 1)
        nodes += [
            node("Mul", "inverse gamma", "factor"),
            node("Mul", "r factor", "scaled"),
            node("Mul", "mean factor", "moved"),
            node("Sub", "beta moved", "term"),
            node("Add", "scaled term", "shifted"),
            node("Reshape", "shifted shape", "y"),
        ]
    else:
        nodes += [
            node("Mul", "d inverse", "x_hat"),
            node("Reshape", "x_hat shape", "back"),
            node("Mul", "back gamma", "scaled"),
            node("Add", "scaled beta", "y"),
        ]
    tensors = {
        "zero": np.array(0),
        "first": np.array([0]),
        "others": np.array([8, 8, *split] if last else [*split, 8, 8]),
        "axes": np.array([1, 2, 4] if last else [2, 3, 4]),
        "eps": np.float32(eps),
        "gamma": np.linspace(0.5, 1.5, 6, dtype=np.float32).reshape(each),
        "beta": np.linspace(-1, 1, 6, dtype=np.float32).reshape(each),
    }
    return nodes, tensors


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

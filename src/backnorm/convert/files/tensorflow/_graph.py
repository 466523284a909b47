"""A TensorFlow graph in JSON: its batch normalizations, and what they were folded into."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Final

from backnorm.convert.files._notes import grouped
from backnorm.convert.files.record import NormLayer
from backnorm.errors import FileError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from backnorm._types import AnyArray

__all__ = ["folded_in", "norms_of"]

NORMS: Final = ("FusedBatchNorm", "FusedBatchNormV2", "FusedBatchNormV3")

FIELDS: Final = ("gamma", "beta", "moving_mean", "moving_variance")
"""The inputs of such a node after the data."""

WEIGHTED: Final = ("Conv2D", "_FusedConv2D", "DepthwiseConv2dNative", "FusedDepthwiseConv2dNative")
ALL_WEIGHTED: Final = (*WEIGHTED, "MatMul", "_FusedMatMul", "Mul", "Add", "AddV2", "BiasAdd")
"""Operators into which a converter folds batch norm, and those that it writes it as."""


def norms_of(
    file: str, topology: Mapping[str, Any], arrays: Mapping[str, AnyArray]
) -> tuple[tuple[NormLayer, ...], set[str], tuple[str, ...]]:
    """Find the batch normalizations whose parameters are weights of the model.

    Parameters
    ----------
    file
        For messages.
    topology
        The graph.
    arrays
        The weights, by the names of their nodes.

    Returns
    -------
    tuple
        The layers, the names of their weights, and notes about nodes that were left alone.
    """
    nodes = _nodes(file, topology)
    before = {
        str(node.get("name")): _inputs(node)[0]
        for node in nodes
        if node.get("op") == "Identity" and _inputs(node)
    }
    layers, taken, notes = [], set(), []
    for node in nodes:
        if node.get("op") not in NORMS:
            continue
        name = str(node.get("name"))
        keys = [_behind(key, before, arrays) for key in _inputs(node)[1 : 1 + len(FIELDS)]]
        if len(keys) < len(FIELDS) or not all(key in arrays for key in keys):
            notes.append((name, "not all of its parameters are weights; it is left alone"))
            continue
        state = {field: arrays[key] for field, key in zip(FIELDS, keys, strict=True)}
        taken |= set(keys)
        # Its momentum is that of training, which no graph has.
        layers.append(NormLayer(name, "keras", state, _epsilon(file, name, node), ("momentum",)))
    return tuple(layers), taken, grouped(notes)


def _nodes(file: str, topology: Mapping[str, Any]) -> list[dict[str, Any]]:
    nodes = topology.get("node")
    if not isinstance(nodes, list) or not all(isinstance(node, dict) for node in nodes):
        place = "modelTopology, node"
        raise FileError.malformed(file, place, "be a list of objects", type(nodes).__name__)
    return nodes


def _inputs(node: Mapping[str, Any]) -> list[str]:
    inputs = node.get("input")
    return [str(item).partition(":")[0] for item in inputs] if isinstance(inputs, list) else []


def _behind(name: str, before: Mapping[str, str], arrays: Mapping[str, AnyArray]) -> str:
    """Return the name before some Identity nodes."""
    seen = set()
    while name not in arrays and name in before and name not in seen:
        seen.add(name)
        name = before[name]
    return name


def _epsilon(file: str, name: str, node: Mapping[str, Any]) -> dict[str, float]:
    attributes = node.get("attr")
    entry = attributes.get("epsilon") if isinstance(attributes, dict) else None
    value = entry.get("f") if isinstance(entry, dict) else 1e-4  # the operator's default
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value < 1e300:  # noqa: PLR2004
        raise FileError.malformed(file, f"layer {name}, epsilon", "be a number", repr(value)[:40])
    return {"epsilon": float(value)}


def folded_in(topology: Mapping[str, Any]) -> str:
    """Say into what the converter may have folded batch norm; nothing without convolutions."""
    nodes = topology.get("node")
    operators = Counter(str(node.get("op")) for node in nodes) if isinstance(nodes, list) else {}
    if not any(name in operators for name in WEIGHTED):
        return ""
    there = ", ".join(f"{operators[name]} {name}" for name in ALL_WEIGHTED if operators[name])
    return f"the graph has {there}, and no {NORMS[0]}: the converter folds batch norm into them"

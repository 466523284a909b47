"""MXNet's symbol file: which parameters belong to which BatchNorm, and its options."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from backnorm.convert.files._regular import read_regular
from backnorm.errors import FileError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from backnorm.convert.files.record import FileOption

__all__ = ["Node", "norms_of", "options_given", "symbol_beside", "symbol_of"]

OPERATORS: Final = ("BatchNorm", "BatchNorm_v1", "_contrib_SyncBatchNorm")

INPUTS: Final = ("gamma", "beta", "moving_mean", "moving_var")
"""Of a BatchNorm node, after the data."""

NUMBERS: Final = ("eps", "momentum")
FLAGS: Final = ("fix_gamma", "use_global_stats")

EPOCH: Final = re.compile(r"-\d{4}$")
"""What MXNet puts behind a checkpoint's name: model-0012.params goes with model-symbol.json."""


@dataclass(frozen=True, slots=True)
class Node:
    """One BatchNorm of the network.

    Attributes
    ----------
    name
        Its name.
    parameters
        For each field of its state, what the network calls that parameter.
    options
        Those that are given.
    """

    name: str
    parameters: Mapping[str, str]
    options: Mapping[str, FileOption]


def symbol_beside(path: Path) -> Path:
    """Return where the symbol file of a parameter file should be."""
    return path.with_name(EPOCH.sub("", path.stem) + "-symbol.json")


def symbol_of(path: Path) -> list[dict[str, Any]]:
    """Read all nodes of a symbol file.

    Parameters
    ----------
    path
        The file.

    Returns
    -------
    list of dict
        In the order of the file.

    Raises
    ------
    FileError
        If it is not a symbol file.
    """
    text = read_regular(path)
    try:
        symbol = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise FileError.library(path.name, "json", error) from error
    nodes = symbol.get("nodes") if isinstance(symbol, dict) else None
    if not isinstance(nodes, list) or not all(isinstance(node, dict) for node in nodes):
        raise FileError.malformed(path.name, "nodes", "be a list of objects", type(nodes).__name__)
    return nodes


def norms_of(file: str, nodes: list[dict[str, Any]]) -> list[Node]:
    """Return all BatchNorm nodes.

    Parameters
    ----------
    file
        For messages.
    nodes
        All nodes of the file.

    Returns
    -------
    list of Node
        In the order of the file.

    Raises
    ------
    FileError
        Naming the node.
    """
    return [_node(file, node, nodes) for node in nodes if node.get("op") in OPERATORS]


def options_given(node: Mapping[str, Any]) -> object:
    """Return the options of a node, under any of the names that they have had."""
    return node.get("attrs") or node.get("param") or node.get("attr") or {}


def _node(file: str, node: dict[str, Any], nodes: list[dict[str, Any]]) -> Node:
    name = str(node.get("name"))
    place = f"node {name}"
    inputs: Any = node.get("inputs")
    try:
        sources = [str(nodes[int(entry[0])]["name"]) for entry in inputs[1 : 1 + len(INPUTS)]]
        parameters = dict(zip(INPUTS, sources, strict=True))
    except (IndexError, KeyError, TypeError, ValueError) as error:
        raise FileError.malformed(
            file, f"{place}, inputs", f"be data and {len(INPUTS)} parameters", repr(inputs)[:80]
        ) from error
    given = options_given(node)
    if not isinstance(given, dict):
        raise FileError.malformed(file, f"{place}, attrs", "be an object", type(given).__name__)
    return Node(
        name,
        parameters,
        {
            key: _value(file, f"{place}, {key}", key, str(given[key]))
            for key in (*NUMBERS, *FLAGS)
            if key in given
        },
    )


def _value(file: str, place: str, key: str, text: str) -> FileOption:
    if key in FLAGS:
        if text not in {"True", "False", "true", "false", "1", "0"}:
            raise FileError.malformed(file, place, "be True or False", text[:40])
        return text in {"True", "true", "1"}
    try:
        return float(text)
    except ValueError as error:
        raise FileError.malformed(file, place, "be a number", text[:40]) from error

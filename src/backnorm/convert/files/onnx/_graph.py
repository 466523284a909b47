"""The graph of an ONNX model: its batch normalizations, and where their parameters come from."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from onnx import AttributeProto, helper, numpy_helper

from backnorm.dialects import DIALECTS, row_of
from backnorm.errors import FileError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from backnorm._types import AnyArray

__all__ = [
    "DEFAULT_DOMAIN",
    "FIELDS",
    "OPERATOR",
    "Graph",
    "dialect_of",
    "name_of",
    "opset_of",
    "why_left",
]

OPERATOR: Final = "BatchNormalization"

FIELDS: Final = {
    name: tuple(array.name for array in row_of(name).arrays.known)
    for name in DIALECTS
    if name.startswith("onnx-")
}
"""A node's inputs after the data, in each version of the operator, the oldest first."""

DEFAULT_DOMAIN: Final = ("", "ai.onnx")

TRAINING_MODE_SINCE: Final = 14
"""The opset whose operator says by an attribute that it normalizes by the batch; an older one says
it by its further outputs."""

OWN_INPUTS_UNTIL: Final = 3
"""The last version of the format in which each initializer must be an input of the graph too."""


def opset_of(dialect: str) -> int:
    """Return the opset that brought a version of the operator."""
    return int(dialect.rpartition("-")[2])


def dialect_of(file: str, model: Any) -> str:
    """Return which version of the operator the model's opset has."""
    versions = [entry.version for entry in model.opset_import if entry.domain in DEFAULT_DOMAIN]
    opset = max(versions, default=1)
    for dialect in reversed(FIELDS):
        if opset >= opset_of(dialect):
            return dialect
    if any(node.op_type == OPERATOR for node in model.graph.node):
        raise FileError.malformed(file, "opset_import", "be opset 9 or newer", f"opset {opset}")
    return next(iter(FIELDS))


def why_left(node: Any, dialect: str) -> str:
    """Return why a node is not a layer that normalizes by running statistics; usually nothing."""
    if opset_of(dialect) >= TRAINING_MODE_SINCE:
        training = any(item.name == "training_mode" and item.i for item in node.attribute)
        sign = "training_mode is 1"
    else:
        training = any(node.output[1:])
        sign = "it has the outputs of training"
    if training:
        return f"{sign}: it normalizes by the batch when the model runs; it is left alone"
    if len(node.input) <= len(FIELDS[dialect]):
        return "it lacks parameters; it is left alone"
    return ""


@dataclass(frozen=True, slots=True)
class Graph:
    """A graph, and the tensors that it holds.

    Attributes
    ----------
    model
        The ``ModelProto``.
    tensors
        Initializers and the values of Constant nodes, by name.
    uses
        How often each name is read.
    """

    model: Any
    tensors: dict[str, Any]
    uses: Counter[str]

    @classmethod
    def of(cls, model: Any) -> Graph:
        """Collect the tensors of a model's graph."""
        tensors = {tensor.name: tensor for tensor in model.graph.initializer}
        for node in _nodes(model.graph, "Constant"):
            tensor = _constant(node)
            if tensor is not None and node.output:
                tensors[node.output[0]] = tensor
        return cls(model, tensors, _uses(model.graph))

    def norms(self) -> Iterator[tuple[str, Any]]:
        """Yield the normalization nodes, each under its name or its output's."""
        used: set[str] = set()
        for index, node in enumerate(_nodes(self.model.graph, OPERATOR)):
            name = name_of(node) or f"{OPERATOR}_{index}"
            name = f"{name}_{index}" if name in used else name
            used.add(name)
            yield name, node

    def sources(self) -> dict[str, str]:
        """Return for each name behind Identity nodes the name before them."""
        return {
            node.output[0]: node.input[0]
            for node in _nodes(self.model.graph, "Identity")
            if node.output and node.input
        }

    def transposes(self) -> dict[str, Any]:
        """Return the nodes that transpose a matrix, by the names of their outputs.

        PyTorch's older exporter writes a dense layer without a bias with one.
        """
        return {
            node.output[0]: node
            for node in _nodes(self.model.graph, "Transpose")
            if node.output
            and node.input
            and all(list(item.ints) == [1, 0] for item in node.attribute if item.name == "perm")
        }

    def key_of(self, name: str, sources: Mapping[str, str]) -> str | None:
        """Return the name of the tensor that a name stands for; None if it is computed."""
        seen = set()
        while name not in self.tensors and name in sources and name not in seen:
            seen.add(name)
            name = sources[name]
        return name if name in self.tensors else None

    def folded(self) -> str:
        """Return a note if the model has convolutions with a bias and no normalization."""
        kinds = ("Conv", "ConvTranspose")
        biased = [
            node
            for kind in kinds
            for node in _nodes(self.model.graph, kind)
            if len(node.input) > 2  # noqa: PLR2004
        ]
        if not biased or any(True for _ in self.norms()):
            return ""
        return (
            f"convolutions have a bias ({len(biased)}), and no {OPERATOR} is there: if the network "
            "has batch norm, the exporter has folded it into them. Export without folding "
            "(PyTorch: training=TrainingMode.PRESERVE, do_constant_folding=False)"
        )

    def put(self, node: Any, index: int, key: str, array: AnyArray) -> None:
        """Give a node new values: in its own initializer, or in a new one if others read that.

        Parameters
        ----------
        node
            The node.
        index
            Which of its inputs.
        key
            The name of the tensor that this input stands for.
        array
            The values.
        """
        own = [tensor for tensor in self.model.graph.initializer if tensor.name == key]
        alone = node.input[index] == key and self.uses[key] == 1
        if own and alone and tuple(own[0].dims) == array.shape:
            own[0].CopyFrom(numpy_helper.from_array(array, key))
            return
        self.uses[node.input[index]] -= 1
        node.input[index] = self.add(f"{key}_new", array)

    def add(self, name: str, array: AnyArray) -> str:
        """Add an initializer that is read once, and return its name: this one or a longer one."""
        graph = self.model.graph
        while name in self.uses or name in self.tensors:
            name += "_"
        graph.initializer.append(numpy_helper.from_array(array, name))
        self.uses[name] = 1
        self.tensors[name] = graph.initializer[-1]
        if self.model.ir_version <= OWN_INPUTS_UNTIL:
            kind = graph.initializer[-1].data_type
            graph.input.append(helper.make_tensor_value_info(name, kind, array.shape))
        return name


def name_of(node: Any) -> str:
    """Return a node's name, or that of its output."""
    return node.name or next(iter(node.output), "")


def _nodes(graph: Any, operator: str) -> Iterator[Any]:
    for node in graph.node:
        if node.op_type == operator and node.domain in DEFAULT_DOMAIN:
            yield node


def _constant(node: Any) -> Any:
    """Return the value of a Constant node as a tensor; None for text and for a sparse tensor."""
    for attribute in node.attribute:
        if attribute.name == "value" and attribute.type == AttributeProto.TENSOR:
            return attribute.t
        if attribute.name in {"value_float", "value_floats"}:
            values = attribute.f if attribute.name == "value_float" else list(attribute.floats)
            return numpy_helper.from_array(np.array(values, np.float32))
        if attribute.name in {"value_int", "value_ints"}:
            whole = attribute.i if attribute.name == "value_int" else list(attribute.ints)
            return numpy_helper.from_array(np.array(whole, np.int64))
    return None


def _uses(graph: Any) -> Counter[str]:
    """Count how often each name is read, in the graph and in the graphs inside of its nodes."""
    uses: Counter[str] = Counter()
    waiting = [graph]
    while waiting:
        inner = waiting.pop()
        uses.update(value.name for value in inner.output)
        for node in inner.node:
            uses.update(node.input)
            uses.update(dict.fromkeys(node.output, 0))
            for attribute in node.attribute:
                waiting += [attribute.g] if attribute.HasField("g") else []
                waiting += attribute.graphs
    return uses

"""The convolutions and dense layers of an ONNX graph: their weights, and the bias added to them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from onnx import shape_inference

from backnorm.convert.files._guard import guard
from backnorm.convert.files.folding import _reasons as reasons
from backnorm.convert.files.folding._law import KernelAxes
from backnorm.convert.files.onnx._graph import DEFAULT_DOMAIN, name_of
from backnorm.errors import FileError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from backnorm._types import AnyArray
    from backnorm.convert.files.onnx._graph import Graph

__all__ = ["BIAS", "WEIGHTS", "Linear", "Wiring", "per_channel"]

LINEAR: Final = ("Conv", "ConvTranspose", "Gemm", "MatMul")

OPERANDS: Final = 2
"""Inputs of an Add node."""

DENSE_AXES: Final = 2
"""Axes of the output of a dense layer whose channels lie on axis 1."""

DATA, WEIGHTS, BIAS = 0, 1, 2
"""Inputs of all of them; MatMul has no bias."""


@dataclass(frozen=True, slots=True)
class Linear:
    """A convolution or dense layer that alone feeds a norm.

    Attributes
    ----------
    node
        The convolution, or the multiplication.
    added
        The Add node after it that adds a stored bias, or None.
    bias_input
        Which input of added is the bias.
    transpose
        The node that transposes the stored weights of a multiplication, or None.
    """

    node: Any
    added: Any = None
    bias_input: int = 1
    transpose: Any = None

    @property
    def last(self) -> Any:
        """The node that the norm reads."""
        return self.node if self.added is None else self.added

    @property
    def kind(self) -> str:
        """The operator that computes it when it is folded: Gemm transposes by itself."""
        return self.node.op_type if self.transpose is None else "Gemm"

    @property
    def weights(self) -> str:
        """The name of the weights, as they are stored."""
        stored = self.node.input[WEIGHTS] if self.transpose is None else self.transpose.input[DATA]
        return str(stored)

    def axes(self) -> KernelAxes:
        """Return where the output channels of the weights lie."""
        options = {item.name: item.i for item in self.node.attribute}
        if self.node.op_type == "Conv" or options.get("transB") or self.transpose is not None:
            return KernelAxes(0)
        groups = options.get("group", 1) if self.node.op_type == "ConvTranspose" else 1
        return KernelAxes(1, groups)

    @property
    def rank_of_bias(self) -> int:
        """How many axes the bias that is an input of the node may have."""
        return DENSE_AXES if self.node.op_type == "Gemm" else 1

    def bias_name(self) -> str:
        """Return the name of the bias that is an input of the node; empty without one."""
        return str(self.node.input[BIAS]) if len(self.node.input) > BIAS else ""


@dataclass(slots=True)
class Wiring:
    """Which node computes what, and who reads it."""

    graph: Graph
    producers: dict[str, Any]
    sources: Mapping[str, str]
    _ranks: dict[str, int] | None = None

    @classmethod
    def of(cls, graph: Graph) -> Wiring:
        """Index the nodes of a graph by their outputs."""
        nodes = graph.model.graph.node
        producers = {name: node for node in nodes for name in node.output if name}
        return cls(graph, producers, graph.sources())

    def before(self, norm: Any) -> Linear | str:
        """Return the convolution or dense layer before a norm, or why there is none to fold into.

        Parameters
        ----------
        norm
            The node.

        Returns
        -------
        Linear or str
            A layer that nothing else reads, whose weights and biases are stored.
        """
        added, bias_input = None, 1
        node = self.producers.get(norm.input[DATA])
        if not norm.output:
            return reasons.unread()
        if node is not None and _kind(node) == "Add" and len(node.input) == OPERANDS:
            stored = [self.key_of(name) is not None for name in node.input]
            if any(stored):
                added, bias_input = node, stored.index(True)
                node = self.producers.get(added.input[1 - bias_input])
        if node is None:
            return reasons.reads_input()
        if _kind(node) not in LINEAR:
            return reasons.not_linear(node.op_type)
        transpose = self._transpose(node)
        linear = Linear(node, added, bias_input, transpose)
        return self._why_not(linear, norm) or linear

    def _transpose(self, node: Any) -> Any:
        """Return the node that transposes the stored weights of a multiplication, or None."""
        name = node.input[WEIGHTS] if len(node.input) > WEIGHTS else ""
        transpose = self.graph.transposes().get(name) if _kind(node) == "MatMul" else None
        if transpose is None or self.graph.uses[name] != 1:
            return None
        return transpose if self.key_of(transpose.input[DATA]) is not None else None

    def _why_not(self, linear: Linear, norm: Any) -> str:
        """Return why a layer is not only the norm's, or not stored; usually nothing."""
        node = linear.node
        for reads, reader in ((node, linear.added or norm), (linear.added, norm)):
            if reads is not None and self.graph.uses[reads.output[0]] != 1:
                return self._why_seen(reads, reader)
        name = name_of(node)
        if len(node.input) <= WEIGHTS or self.key_of(linear.weights) is None:
            return reasons.computed("weights", name)
        if linear.bias_name() and self.key_of(linear.bias_name()) is None:
            return reasons.computed("bias", name)
        if any(self.graph.uses[alias] != 1 for alias in self._aliases(linear.weights)):
            reader = linear.transpose or node
            return reasons.shared(name, self._names_of_readers(linear.weights, reader))
        if node.op_type == "MatMul" and self._rank(node.output[0]) != DENSE_AXES:
            return reasons.another_axis(name)
        return ""

    def _why_seen(self, node: Any, reader: Any) -> str:
        if any(value.name == node.output[0] for value in self.graph.model.graph.output):
            return reasons.output_of_network(name_of(node))
        return reasons.read_by_others(name_of(node), self._names_of_readers(node.output[0], reader))

    def _names_of_readers(self, name: str, known: Any) -> list[str]:
        aliases = self._aliases(name)
        nodes = self.graph.model.graph.node
        readers = [node for node in nodes if node is not known and aliases & set(node.input)]
        return [name_of(node) for node in readers if not aliases & set(node.output)]

    def _aliases(self, name: str) -> set[str]:
        """Return a name and those of the same tensor in front of Identity nodes."""
        aliases = {name}
        while name in self.sources and self.sources[name] not in aliases:
            name = self.sources[name]
            aliases.add(name)
        return aliases

    def key_of(self, name: str) -> str | None:
        """Return the name of the stored tensor that a name stands for."""
        return self.graph.key_of(name, self.sources)

    def _rank(self, name: str) -> int:
        """Return how many axes an array has, as far as onnx can tell; else -1."""
        if self._ranks is None:
            self._ranks = {}
            try:
                with guard("the model", "onnx"):
                    inferred = shape_inference.infer_shapes(self.graph.model)
            except FileError:  # a damaged graph: then no shape is known
                return -1
            for value in (*inferred.graph.value_info, *inferred.graph.output):
                if value.type.tensor_type.HasField("shape"):
                    self._ranks[value.name] = len(value.type.tensor_type.shape.dim)
        return self._ranks.get(name, -1)


def per_channel(bias: AnyArray, channels: int, rank: int) -> AnyArray | None:
    """Return a stored bias as a row of channels.

    Parameters
    ----------
    bias
        What is added to the output.
    channels
        The length of the output's axis 1.
    rank
        How many axes the output has; 1 for a bias that has the channels alone.

    Returns
    -------
    numpy.ndarray or None
        Shape (channels,); None if the bias differs along another axis.
    """
    shape = (*[1] * (rank - bias.ndim), *bias.shape)
    others = [length for index, length in enumerate(shape) if index != min(1, rank - 1)]
    if len(shape) != rank or any(length != 1 for length in others):
        return None
    return np.broadcast_to(bias.reshape(-1), (channels,)) if bias.size in (1, channels) else None


def _kind(node: Any) -> str:
    return node.op_type if node.domain in DEFAULT_DOMAIN else ""

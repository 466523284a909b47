"""Fold the norms of an ONNX graph into the convolutions and dense layers before them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from onnx import helper

from backnorm.convert.files.folding import _reasons as reasons
from backnorm.convert.files.folding._law import finite, fold_law_of, why_unfit
from backnorm.convert.files.onnx._graph import name_of
from backnorm.convert.files.onnx._linear import BIAS, WEIGHTS, Wiring, per_channel
from backnorm.errors import ConversionError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from backnorm._types import AnyArray
    from backnorm.convert.files.folding._law import FoldLaw
    from backnorm.convert.files.onnx._graph import Graph
    from backnorm.convert.files.onnx._linear import Linear
    from backnorm.convert.files.onnx._tensor import TensorReader
    from backnorm.convert.files.record import NormLayer

__all__ = ["GraphFolder"]

FROM_STORE: Final = ("Constant", "Identity")
"""Nodes that go when nobody reads them any more."""


@dataclass(slots=True)
class GraphFolder:
    """Folds norms one after the other, in the order of the graph.

    Attributes
    ----------
    graph
        It is changed.
    tensors
        Reads its tensors.
    """

    graph: Graph
    tensors: TensorReader
    _unread: list[str] = field(default_factory=list)

    def fold(self, layers: Iterable[NormLayer]) -> list[tuple[str, str]]:
        """Fold what can be folded.

        Parameters
        ----------
        layers
            The norms that were read from the graph.

        Returns
        -------
        list of tuple
            For each of them the name of the node that it is folded into, or "", and why it is left.
        """
        wiring, nodes = Wiring.of(self.graph), dict(self.graph.norms())
        results = [self._fold(wiring, layer, nodes[layer.name]) for layer in layers]
        self._sweep()
        return results

    def _fold(self, wiring: Wiring, layer: NormLayer, norm: Any) -> tuple[str, str]:
        linear = wiring.before(norm)
        if isinstance(linear, str):
            return "", linear
        try:
            law = fold_law_of(layer)
        except ConversionError as error:
            return "", error.problem
        name, weights = name_of(linear.node), self._weights(wiring, linear)
        why_left = why_unfit(name, weights, linear.axes(), layer.channels)
        if why_left:
            return "", why_left
        biases = self._biases(wiring, linear, norm, law, weights.dtype)
        if biases is None:
            return "", reasons.another_axis(name_of(linear.last))
        kernel = law.kernel(weights, linear.axes())
        if not finite(kernel, *(array for _, _, array in biases)):
            return "", reasons.not_finite(name, weights.dtype)
        self._take_over(wiring, linear, norm)
        for node, index, array in ((linear.node, WEIGHTS, kernel), *biases):
            self._put(wiring, node, index, array)
        return name, ""

    def _weights(self, wiring: Wiring, linear: Linear) -> AnyArray:
        key = str(wiring.key_of(linear.weights))
        return self.tensors.read(f"{name_of(linear.node)}, weights", self.graph.tensors[key])

    def _read(self, wiring: Wiring, node: Any, index: int) -> AnyArray:
        key = str(wiring.key_of(node.input[index]))
        return self.tensors.read(f"{name_of(node)}, input {index}", self.graph.tensors[key])

    def _biases(
        self, wiring: Wiring, linear: Linear, norm: Any, law: FoldLaw, dtype: np.dtype
    ) -> list[tuple[Any, int, AnyArray]] | None:
        """Return the new biases, each with its node and input; None if they are no rows.

        The last bias before the norm gets the whole law, a bias before that only its factor.
        """
        node, c, own = linear.node, law.mean.size, None
        if linear.bias_name():
            own = per_channel(self._read(wiring, node, BIAS), c, linear.rank_of_bias)
            if own is None:
                return None
            own = own.astype(np.float64) * _weight_of_bias(node)
        if linear.added is None:
            target = (norm, 1) if linear.kind == "MatMul" else (node, BIAS)
            return [(*target, law.bias(own, dtype))]
        stored = self._read(wiring, linear.added, linear.bias_input)
        rank = self._weights(wiring, linear).ndim
        row = per_channel(stored, c, rank)
        if row is None:
            return None
        new = law.bias(row, stored.dtype).reshape(c, *[1] * (rank - 2))
        before = [] if own is None else [(node, BIAS, law.scaled(own, dtype))]
        return [*before, (linear.added, linear.bias_input, new)]

    def _put(self, wiring: Wiring, node: Any, index: int, array: AnyArray) -> None:
        """Give a node an input, new or in place of the one that it has."""
        if index < len(node.input) and node.input[index]:
            name = node.input[index]
            self.graph.put(node, index, str(wiring.key_of(name)), array)
            self._unread.append(name)
            return
        del node.input[index:]
        node.input.append(self.graph.add(f"{name_of(node)}_bias", array))

    def _take_over(self, wiring: Wiring, linear: Linear, norm: Any) -> None:
        """Have the layer compute the norm's output; the norm goes, or becomes what adds a bias."""
        if linear.transpose is not None:
            self._multiply_transposed(linear)
        for name in norm.input[1:]:
            self.graph.uses[name] -= 1
            self._unread.append(name)
        del norm.input[1:], norm.output[1:], norm.attribute[:]
        if linear.node.op_type == "MatMul" and linear.added is None:
            norm.op_type = "Add"
            return
        for index, item in enumerate(linear.node.attribute):
            if linear.node.op_type == "Gemm" and item.name == "beta":  # it is in the bias now
                del linear.node.attribute[index]
                break
        self.graph.uses[norm.input[0]] = 0
        self._unread.append(norm.input[0])
        linear.last.output[0] = norm.output[0]
        wiring.producers[norm.output[0]] = linear.last
        norm.Clear()

    def _multiply_transposed(self, linear: Linear) -> None:
        """Have Gemm transpose the stored weights, in place of a node before it."""
        node = linear.node
        node.op_type, node.input[WEIGHTS] = "Gemm", linear.weights
        node.attribute.append(helper.make_attribute("transB", 1))
        self.graph.uses[linear.transpose.output[0]] = 0
        self._unread.append(linear.transpose.output[0])
        linear.transpose.Clear()

    def _sweep(self) -> None:
        """Remove the nodes that were cleared, and what nobody reads any more."""
        graph, unread = self.graph.model.graph, set()
        stores = {n.output[0]: n for n in graph.node if n.op_type in FROM_STORE and n.output}
        while self._unread:
            name = self._unread.pop()
            if self.graph.uses[name] > 0 or name in unread:
                continue
            unread.add(name)
            if name in stores:
                self._unread += stores[name].input
                self.graph.uses.subtract(stores[name].input)
                stores[name].Clear()
        _remove(graph.node, lambda node: not node.op_type)
        for named in (graph.initializer, graph.input, graph.value_info):
            _remove(named, lambda value: value.name in unread)


def _weight_of_bias(node: Any) -> float:
    """Return by how much a node multiplies its bias: Gemm's beta, else 1."""
    given = [item.f for item in node.attribute if item.name == "beta"]
    return float(given[0]) if given and node.op_type == "Gemm" else 1.0


def _remove(repeated: Any, unwanted: Callable[[Any], bool]) -> None:
    """Remove some of a repeated field; its large others stay where they are."""
    for index in reversed(range(len(repeated))):
        if unwanted(repeated[index]):
            del repeated[index]

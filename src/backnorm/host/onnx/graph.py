"""A graph of an ONNX model: who makes and who reads a value, and what is constant in it."""

import os

import numpy as np
import onnx
from onnx import inliner, numpy_helper, shape_inference
from onnx.reference import ReferenceEvaluator

__all__ = ["DEFAULT_DOMAIN", "OnnxGraph", "attribute", "graphs_of", "read_model"]

DEFAULT_DOMAIN = ("", "ai.onnx")

LARGEST = 1 << 31
"""Bytes that protocol buffers hold; what is larger has its weights in files beside."""


COMPUTED = ("Cast", "Unsqueeze", "Squeeze", "Concat", "Add", "Sub", "Mul", "Div", "Identity")
"""Operators by which files compute a shape from lengths."""

SHAPED = ("Reshape", "Expand", "Tile")
"""Operators whose second input is a shape."""

INTEGERS = (6, 7)
"""ONNX's numbers of int32 and int64."""


def read_model(path):
    """Return the model in a file, with its functions put in place; weights beside stay there."""
    model = onnx.load(path, load_external_data=False)
    if model.functions:
        model = inliner.inline_local_functions(model)
    if os.path.getsize(path) < LARGEST:
        try:
            model = shape_inference.infer_shapes(model)
        except Exception:
            # Shapes then are those that the file tells.
            return model
    return model


def graphs_of(model, folder):
    """Yield the graph of a model, and those in its branches and loops."""
    waiting = [(model.graph, None)]
    while waiting:
        proto, outer = waiting.pop()
        graph = OnnxGraph(model, proto, outer, folder)
        yield graph
        inner = [item.g for node in proto.node for item in node.attribute if item.HasField("g")]
        waiting += [(one, graph) for one in inner]


def attribute(node, name, default=None):
    """Return the value of an attribute of a node."""
    for item in node.attribute:
        if item.name == name:
            return onnx.helper.get_attribute_value(item)
    return default


class OnnxGraph:
    """A graph, and what the graphs around it hold."""

    def __init__(self, model, proto, outer, folder):
        self.model, self.nodes, self.outer, self.folder = model, list(proto.node), outer, folder
        self.tensors = {one.name: one for one in proto.initializer}
        self.makers = {name: node for node in self.nodes for name in node.output if name}
        self.readers = {}
        for node in self.nodes:
            for name in set(_read_by(node)):
                self.readers.setdefault(name, []).append(node)
        self.outputs = {one.name for one in proto.output}
        known = list(proto.input) + list(proto.value_info) + list(proto.output)
        self.types = {one.name: one.type.tensor_type for one in known}
        self.constants = {}
        for node in self.nodes:
            self._fold_length(node)
        self.constants.clear()

    def _fold_length(self, node):
        """Make a constant of a length that is known, where it goes into other shapes alone.

        A length that divides a sum stays: the number of values is that of the x that is given.
        """
        shape = self.makers.get(node.input[0]) if node.op_type == "Gather" else None
        if shape is None or shape.op_type != "Shape" or not self.is_constant(node.input[1]):
            return
        own, places = self.lengths(shape.output[0]), self.value(node.input[1])
        if own is None or any(not -len(own) <= place < len(own) for place in places.ravel()):
            return
        found = [own[int(place)] for place in places.ravel()]
        if None not in found and self._goes_into_shapes(node.output[0]):
            del self.makers[node.output[0]]
            self.add(node.output[0], np.array(found, np.int64).reshape(places.shape))

    def _goes_into_shapes(self, name):
        waiting = [name]
        while waiting:
            known = waiting.pop()
            for node in self.readers.get(known, []):
                if node.op_type in COMPUTED and not (
                    node.op_type == "Cast" and attribute(node, "to") not in INTEGERS
                ):
                    waiting += node.output
                elif node.op_type not in SHAPED or node.input[0] == known:
                    return False
        return True

    def maker(self, name):
        """Return the node that makes a value; None if it is given."""
        return self.makers.get(name)

    def reader(self, name):
        """Return the one node that reads a value; None if there are others, or none."""
        found = self.readers.get(name, [])
        return found[0] if len(found) == 1 and name not in self.outputs else None

    def is_constant(self, name):
        """Whether a value follows from the tensors of the model alone."""
        if name not in self.constants:
            node = self.makers.get(name)
            self.constants[name] = False
            if node is None:
                outer = self.outer is not None and self.outer.is_constant(name)
                self.constants[name] = name in self.tensors or outer
            elif not any(item.HasField("g") for item in node.attribute):
                inputs = [one for one in node.input if one]
                self.constants[name] = node.op_type != "RandomNormal" and all(
                    self.is_constant(one) for one in inputs
                )
        return self.constants[name]

    def value(self, name):
        """Return a constant as an array."""
        if name in self.tensors:
            return self._array(self.tensors[name])
        if name not in self.makers:
            return self.outer.value(name)
        nodes, tensors = self.behind([name])
        graph = onnx.helper.make_graph(
            nodes, "constant", [], [onnx.helper.make_empty_tensor_value_info(name)], tensors
        )
        made = onnx.helper.make_model(graph, opset_imports=self.model.opset_import)
        return np.asarray(ReferenceEvaluator(made).run(None, {})[0])

    def add(self, name, array):
        """Add a constant."""
        self.tensors[name] = numpy_helper.from_array(array, name)

    def behind(self, names):
        """Return the nodes and tensors that constants are made of, in order."""
        nodes, tensors, seen = [], [], set()

        def visit(name):
            if name in seen or not name:
                return
            seen.add(name)
            node = self.makers.get(name)
            if node is None:
                tensors.append(numpy_helper.from_array(self.value(name), name))
                return
            for one in node.input:
                visit(one)
            if all(node is not other for other in nodes):
                nodes.append(node)
                seen.update(node.output)

        for name in names:
            visit(name)
        return nodes, tensors

    def shape(self, name):
        """Return the lengths of a value's axes, None where unknown; None without a rank."""
        if self.is_constant(name):
            return list(self.value(name).shape)
        known = self._type(name)
        told = None
        if known is not None and known.HasField("shape"):
            told = [one.dim_value if one.HasField("dim_value") else None for one in known.shape.dim]
        node = self.maker(name)
        if node is None or node.op_type != "Reshape" or (told is not None and None not in told[1:]):
            return told
        # Shape inference does not follow what a file computes from its own lengths.
        target = self.lengths(node.input[1])
        if target is None or (told is not None and len(told) != len(target)):
            return told
        found = [one if one is not None and one > 0 else None for one in target]
        return found if told is None else [a if a is not None else b for a, b in zip(told, found)]

    def lengths(self, name):
        """Return the values of a vector that says a shape, None where unknown; None without any.

        Exporters compute it from ``Shape`` of another value, of which some lengths are known.
        """
        node = self.maker(name)
        if self.is_constant(name):
            return [int(one) for one in self.value(name).ravel()]
        if node is None:
            return None
        if node.op_type == "Shape":
            own = self.shape(node.input[0])
            return own and own[attribute(node, "start", 0) : attribute(node, "end", len(own))]
        parts = [self.lengths(one) for one in node.input[: None if node.op_type == "Concat" else 1]]
        joined = None if None in parts else [one for part in parts for one in part]
        if node.op_type == "Gather" and self.is_constant(node.input[1]) and joined is not None:
            return [joined[int(place)] for place in self.value(node.input[1]).ravel()]
        kept = ("Concat", "Cast", "Identity", "Squeeze", "Unsqueeze", "Reshape")
        return joined if node.op_type in kept else None

    def dtype(self, name):
        """Return ONNX's number of the dtype of a value; that of float32 where it is unknown."""
        known = self._type(name)
        return known.elem_type if known is not None and known.elem_type else 1

    def _type(self, name):
        if name in self.types:
            return self.types[name]
        return self.outer._type(name) if self.outer is not None else None

    def _array(self, tensor):
        return numpy_helper.to_array(tensor, self.folder)


def _read_by(node):
    """Return what a node reads, also in its branches."""
    names = [name for name in node.input if name]
    for item in node.attribute:
        if item.HasField("g"):
            names += [name for inner in item.g.node for name in _read_by(inner)]
    return names

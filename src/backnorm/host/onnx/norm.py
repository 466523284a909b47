"""A normalization in a graph: a node, or the nodes that an exporter wrote in its place."""

import onnx

from .graph import DEFAULT_DOMAIN, attribute

__all__ = ["CHANNELS", "INPUT", "ONNX_DTYPES", "SPATIAL", "OnnxNorm", "eps_of"]

INPUT = "backnorm.%s"
"""What a model of one normalization calls x, gamma, beta, mean and var."""

SPATIAL = {2: (), 3: (5,), 4: (3, 2), 5: (3, 2, 2)}
"""Lengths of the axes behind the channels, by the rank of x."""

CHANNELS = 4
"""Of nodes whose channels the file does not fix."""

ONNX_DTYPES = {"float32": 1, "float16": 10, "float64": 11, "bfloat16": 16}
"""ONNX's numbers of the dtypes that a normalization is run in."""


class OnnxNorm:
    """What is known of a normalization.

    ``nodes`` compute ``y`` from x and from the inputs of its ``roles``: gamma, beta, mean and var,
    as far as these are there. ``sample`` and ``parameter`` are the shapes of one sample of x and of
    gamma, as the audit orders the axes, and ``axes`` is the order of the graph; ``fed`` is the
    shape in which the graph has gamma and beta, where that is not ``parameter``. ``updates`` names
    what the nodes make of mean and var where they train. ``told`` has what the file says: eps,
    momentum, and the constants.
    """

    def __init__(self, graph, nodes, x, y):
        self.graph, self.x, self.y = graph, x, y
        self.nodes = [_copied(node) for node in nodes]
        self.kind, self.axes, self.groups = "batch", "", 0
        self.roles, self.updates, self.told = [], {}, {}
        self.sample, self.parameter, self.fed = (), (), {}
        self.opset = _opset_of(graph.model)
        self.name = next((node.name for node in nodes[:1] if node.name), "") or y
        self.replace(x, "x")

    @property
    def operator(self):
        """The operator of its first node."""
        return self.nodes[0].op_type

    @property
    def trains(self):
        """Whether it normalizes by the batch and updates running statistics."""
        return bool(self.updates)

    @property
    def rounds(self):
        """Whether its nodes cast values to half precision that is not the dtype of x."""
        casts = [attribute(node, "to") for node in self.nodes if node.op_type == "Cast"]
        halves = (ONNX_DTYPES["float16"], ONNX_DTYPES["bfloat16"])
        return any(to in halves and to != self.graph.dtype(self.x) for to in casts)

    def replace(self, name, role, node=None, place=None):
        """Let its nodes, or one input of a node, read what the audit gives for a value."""
        for one in self.nodes if node is None else [node]:
            for at, read in enumerate(one.input):
                if read == name and place in (None, at):
                    one.input[at] = INPUT % role
        if role != "x":
            self.roles.append(role)

    def model(self, dtype, nodes=None, outputs=None):
        """Return a model of its nodes alone, in which its own dtype is replaced by another."""
        own, target = self.graph.dtype(self.x), ONNX_DTYPES[dtype]
        nodes = self.nodes if nodes is None else nodes
        given = [INPUT % role for role in ["x"] + self.roles]
        ready = set(given).union(*[set(node.output) for node in nodes])
        missing = [n for node in nodes for n in node.input if n and n not in ready]
        before, tensors = self.graph.behind(missing)
        if outputs is None:
            outputs = [self.y] + list(self.updates.values())
        graph = onnx.helper.make_graph(
            [_retyped_node(node, own, target) for node in before + nodes],
            "norm",
            [onnx.helper.make_tensor_value_info(name, target, None) for name in given],
            [onnx.helper.make_tensor_value_info(name, target, None) for name in outputs],
            [_retyped(one, own, target) for one in tensors],
        )
        source = self.graph.model
        opsets = [one for one in source.opset_import if one.domain not in DEFAULT_DOMAIN]
        opsets.append(onnx.helper.make_opsetid("", self.opset))
        return onnx.helper.make_model(
            graph, opset_imports=opsets, ir_version=max(source.ir_version, 8)
        )


def eps_of(node, default=1e-5):
    """Return the eps that a node says."""
    return float(attribute(node, "epsilon", default))


def _opset_of(model):
    """Return the opset of ONNX's own operators in a model."""
    versions = [one.version for one in model.opset_import if one.domain in DEFAULT_DOMAIN]
    return max(versions + [1])


def _copied(node):
    made = onnx.NodeProto()
    made.CopyFrom(node)
    return made


def _retyped_node(node, own, target):
    """Return a copy of a node whose casts and constants have another dtype."""
    made = _copied(node)
    for item in made.attribute:
        if node.op_type == "Cast" and item.name == "to" and item.i == own:
            item.i = target
        elif item.HasField("t"):
            item.t.CopyFrom(_retyped(item.t, own, target))
        elif node.op_type == "Constant" and item.name in ("value_float", "value_floats"):
            values = [item.f] if item.name == "value_float" else list(item.floats)
            shape = [] if item.name == "value_float" else [len(values)]
            tensor = onnx.helper.make_tensor("value", 1, shape, values)
            del made.attribute[:]
            made.attribute.append(
                onnx.helper.make_attribute("value", _retyped(tensor, own, target))
            )
            break
    return made


def _retyped(tensor, own, target):
    if tensor.data_type != own or own == target:
        return tensor
    array = onnx.numpy_helper.to_array(tensor)
    wanted = onnx.helper.tensor_dtype_to_np_dtype(target)
    return onnx.numpy_helper.from_array(array.astype(wanted), tensor.name)

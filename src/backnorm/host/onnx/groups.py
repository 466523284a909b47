"""Group normalization as exporters write it: as instances, between two reshapes."""

import onnx

from .norm import CHANNELS, INPUT, SPATIAL, OnnxNorm

__all__ = ["grouped"]


def grouped(graph, node):
    """Return the norm of an InstanceNormalization that stands between two reshapes; None else."""
    before, after = graph.maker(node.input[0]), graph.reader(node.output[0])
    if node.op_type != "InstanceNormalization" or not _reshapes(before) or not _reshapes(after):
        return None
    if not graph.is_constant(before.input[1]) or not _is_plain(graph, node):
        return None
    shape = [int(length) for length in graph.value(before.input[1]).ravel()]
    if len(shape) != 3 or shape[1] < 1:
        return None
    nodes, affine, y = [before, node, after], [], after.output[0]
    for operator in ("Mul", "Add"):
        last = graph.reader(y)
        constants = [n for n in last.input if graph.is_constant(n)] if last is not None else []
        if last is not None and last.op_type == operator and constants:
            nodes.append(last)
            affine.append((constants[0], "gamma" if operator == "Mul" else "beta"))
            y = last.output[0]
    x = before.input[0]
    norm = OnnxNorm(graph, nodes, x, y)
    norm.kind, norm.groups = "group", shape[1]
    rank = len(graph.shape(x) or graph.shape(y) or [0] * 4)
    channels = 2 * norm.groups if norm.groups > 1 else CHANNELS
    norm.sample = (channels,) + SPATIAL.get(max(rank, 3), (3, 2))
    norm.parameter = (channels,)
    for name, role in affine:
        norm.replace(name, role)
        own = graph.value(name).shape
        norm.fed[role] = [channels if length != 1 else 1 for length in own]
    made = norm.nodes
    graph.add("backnorm.groups%d" % norm.groups, _array([0, norm.groups, -1]))
    made[0].input[1] = "backnorm.groups%d" % norm.groups
    made[2].input[1] = "backnorm.shape"
    made.insert(0, onnx.helper.make_node("Shape", [INPUT % "x"], ["backnorm.shape"]))
    return norm


def _array(values):
    return onnx.numpy_helper.to_array(onnx.helper.make_tensor("", 7, [len(values)], values))


def _reshapes(node):
    return node is not None and node.op_type == "Reshape"


def _is_plain(graph, node):
    """Whether a node neither scales nor shifts: gamma and beta are those of the channels."""
    known = [name for name in node.input[1:3] if graph.is_constant(name)]
    values = [graph.value(name) for name in known]
    return len(values) == 2 and (values[0] == 1).all() and (values[1] == 0).all()

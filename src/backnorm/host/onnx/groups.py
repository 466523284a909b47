"""Group normalization as exporters write it: as instances, between two reshapes."""

import onnx

from .norm import CHANNELS, INPUT, SPATIAL, OnnxNorm

__all__ = ["grouped", "grouped_chain"]


FLAT = 2
"""Axes of an x that has channels alone."""


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
    # Without other axes two channels in a group would be all values, and y would be 1 and -1.
    each = CHANNELS if rank == FLAT or norm.groups == 1 else 2
    channels = each * norm.groups
    norm.sample = (channels,) + SPATIAL.get(rank, (3, 2))
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


def grouped_chain(graph, region, x, axes, keeps):
    """Return the norm of a chain on an x whose channels a Reshape has split into groups; None else.

    ``keeps`` says that a constant in it counts the values, so that the lengths stay.
    """
    before, split = graph.maker(x), graph.shape(x)
    own = graph.shape(before.input[0]) if _reshapes(before) else None
    at = None if own is None or split is None else _split_at(own, split, axes)
    if at is None:
        return None
    groups, each, rank = split[at], split[at + 1], len(own)
    nodes, y, affine = _behind(graph, region, len(split))
    # What does not vary along the channels alone stays as it is, and so do the lengths.
    suiting = [one for one in affine if graph.value(one[0]).size == own[at]]
    keeps = keeps or suiting != affine
    each = each if keeps or each == 1 else (CHANNELS if groups == 1 or rank == FLAT else 2)
    norm = OnnxNorm(graph, [before, *nodes], before.input[0], y)
    norm.kind, norm.groups, norm.axes = "group", groups, "" if at == 1 else "N...C"
    small = iter(SPATIAL[rank] if rank in SPATIAL else (2,) * (rank - 2))
    others = {place: next(small) for place in range(1, rank) if place != at}
    lengths = [own[p] if keeps and own[p] else others.get(p) for p in range(rank)]
    lengths[at] = groups * each
    for name, role, whole in suiting:
        shape = graph.value(name).shape
        varied = lengths if whole else [*lengths[:at], groups, each, *lengths[at + 1 :]]
        norm.replace(name, role)
        first = len(varied) - len(shape)
        norm.fed[role] = [varied[first + p] if n != 1 else 1 for p, n in enumerate(shape)]
    for node in norm.nodes:
        if node.op_type == "Reshape" and node.output[0] in (x, _last_reshape(nodes)):
            inner = [groups, each] if node.output[0] == x else [groups * each]
            name = "backnorm.shape.%s" % node.output[0]
            graph.add(name, _array([0, *lengths[1:at], *inner, *lengths[at + 1 :]]))
            node.input[1] = name
    norm.sample = (lengths[at], *(lengths[p] for p in range(1, rank) if p != at))
    norm.parameter = (lengths[at],)
    return norm


def _split_at(own, split, axes):
    """Return the axis that a reshape splits in two, if the axes are all but groups and samples."""
    for at in range(1, len(own)):
        if len(split) != len(own) + 1 or None in (own[at], split[at], split[at + 1]):
            continue
        if axes != [axis for axis in range(1, len(split)) if axis != at]:
            continue
        same = own[1:at] == split[1:at] and own[at + 1 :] == split[at + 2 :]
        if same and own[at] == split[at] * split[at + 1] and at in (1, len(own) - 1):
            return at
    return None


def _behind(graph, region, rank):
    """Return the nodes up to y, y, and the constants that scale and shift, before and after it.

    Of each constant it is told whether the channels are one axis there.
    """
    nodes, y = [*region.nodes], region.y
    affine = [(n, role, False) for n, role in ((region.gamma, "gamma"), (region.beta, "beta")) if n]
    back = graph.reader(y)
    while back is not None and back.op_type == "Cast":
        nodes, y, back = [*nodes, back], back.output[0], graph.reader(back.output[0])
    if _reshapes(back) and len(graph.shape(back.output[0]) or [0] * (rank - 1)) == rank - 1:
        nodes, y = [*nodes, back], back.output[0]
        for operator, role in (("Mul", "gamma"), ("Add", "beta")):
            last = graph.reader(y)
            constants = [n for n in last.input if graph.is_constant(n)] if last is not None else []
            taken = role in [one for _, one, _ in affine]
            if last is None or last.op_type != operator or not constants or taken:
                continue
            nodes, y = [*nodes, last], last.output[0]
            affine.append((constants[0], role, True))
    return nodes, y, affine


def _last_reshape(nodes):
    """Return what the last reshape makes; nothing without one."""
    return next((one.output[0] for one in reversed(nodes) if one.op_type == "Reshape"), "")


def _array(values):
    return onnx.numpy_helper.to_array(onnx.helper.make_tensor("", 7, [len(values)], values))


def _reshapes(node):
    return node is not None and node.op_type == "Reshape"


def _is_plain(graph, node):
    """Whether a node neither scales nor shifts: gamma and beta are those of the channels."""
    known = [name for name in node.input[1:3] if graph.is_constant(name)]
    values = [graph.value(name) for name in known]
    return len(values) == 2 and (values[0] == 1).all() and (values[1] == 0).all()

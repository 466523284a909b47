"""Normalizations that an exporter wrote as a chain of nodes: mean, variance, root, quotient.

A chain is recognised by what it computes and not by its order: from a root, whose value follows
from a mean of squares of x, to the last node that scales and shifts what was normalized. All nodes
between depend on x and on constants alone.
"""

import numpy as np

from .graph import attribute
from .norm import CHANNELS, OnnxNorm

__all__ = ["chains_in"]

REDUCTIONS = ("ReduceMean", "ReduceSum", "ReduceSumSquare", "ReduceL2")

SHAPES = ("Shape", "Size", "Gather", "ReduceProd", "Slice", "Concat", "Range", "ConstantOfShape")
"""Operators that may count values, for a divisor of n or n - 1."""

ELEMENTWISE = ("Add", "Sub", "Mul", "Div", "Pow", "Sqrt", "Reciprocal", "Neg", "Abs", "Max", "Clip")
MOVES = ("Cast", "CastLike", "Identity", "Reshape", "Squeeze", "Unsqueeze", "Expand")

ALLOWED = set(REDUCTIONS + SHAPES + ELEMENTWISE + MOVES)

PASSED = ("Cast", "Identity", "Reshape", "Squeeze", "Unsqueeze")
"""Operators that leave the values as they are."""

FULL_SIZE = 4096
"""Values that share statistics at most, where constants of a chain fix their number."""


def chains_in(graph, taken):
    """Yield a `OnnxNorm` for each chain; ``taken`` are nodes that are normalizations."""
    found = set()
    for root in graph.nodes:
        if not _is_root(graph, root) or root.output[0] in found:
            continue
        start = _start_of(graph, root)
        if start is None:
            continue
        x, reduction, centred = start
        inside = _following(graph, x)
        region = _region(graph, inside, x, root)
        if region is None or any(node is other for node in region.nodes for other in taken):
            continue
        found.update(name for node in region.nodes for name in node.output)
        norm = _norm(graph, region, x, reduction, centred)
        if norm is not None:
            yield norm


def _is_root(graph, node):
    if node.op_type == "Sqrt":
        return True
    if node.op_type != "Pow" or not graph.is_constant(node.input[1]):
        return False
    exponent = graph.value(node.input[1])
    return exponent.size == 1 and abs(float(exponent.ravel()[0])) == 0.5


def _start_of(graph, root):
    """Return x, the reduction of its squares, and whether a mean is subtracted; None without."""
    waiting, seen = [root.input[0]], set()
    while waiting:
        name = waiting.pop(0)
        node = graph.maker(name)
        if node is None or name in seen or node.op_type not in ALLOWED:
            continue
        seen.add(name)
        if node.op_type in REDUCTIONS:
            base = _squared(graph, node)
            if base is not None:
                x, mean = _centre(graph, base)
                return _before_cast(graph, x), node, mean or _has_mean(graph, root, node)
        waiting += [one for one in node.input if one and not graph.is_constant(one)]
    return None


def _squared(graph, node):
    """Return what a reduction takes the squares of; None where it takes no squares."""
    if node.op_type in ("ReduceSumSquare", "ReduceL2"):
        return node.input[0]
    square = _maker_behind(graph, node.input[0])
    if square is None:
        return None
    if square.op_type == "Mul" and square.input[0] == square.input[1]:
        return square.input[0]
    if square.op_type == "Pow" and graph.is_constant(square.input[1]):
        return square.input[0] if np.all(graph.value(square.input[1]) == 2) else None
    return None


def _centre(graph, base):
    """Return x, and whether ``base`` is x without its mean."""
    node = _maker_behind(graph, base)
    if node is not None and node.op_type == "Sub":
        mean = _maker_behind(graph, node.input[1])
        if mean is not None and mean.op_type in REDUCTIONS + ("Div",):
            return node.input[0], True
    return base, False


def _has_mean(graph, root, squares):
    """Whether the square of another mean is subtracted before the root: E[x^2] - E[x]^2."""
    waiting, seen = [root.input[0]], set()
    while waiting:
        node = graph.maker(waiting.pop())
        if node is None or node.output[0] in seen or node.op_type not in ALLOWED:
            continue
        seen.add(node.output[0])
        if node.op_type in REDUCTIONS:
            if node is not squares and _squared(graph, node) is None:
                return True
            continue
        waiting += [one for one in node.input if one]
    return False


def _maker_behind(graph, name):
    """Return the node that makes a value, behind nodes that leave values as they are."""
    node = graph.maker(name)
    while node is not None and node.op_type in PASSED:
        node = graph.maker(node.input[0])
    return node


def _before_cast(graph, name):
    node = graph.maker(name)
    while node is not None and node.op_type in ("Cast", "Identity"):
        name = node.input[0]
        node = graph.maker(name)
    return name


def _following(graph, x):
    """Return the nodes that follow from x and constants alone, in order."""
    known, nodes = {x}, []
    for node in graph.nodes:
        if node.op_type not in ALLOWED or graph.is_constant(node.output[0]):
            continue
        inputs = [one for one in node.input if one and not graph.is_constant(one)]
        if inputs and all(one in known for one in inputs):
            known.update(node.output)
            nodes.append(node)
    return nodes


class _Region:
    """The nodes of a chain, its y, and the constants that scale and shift what was normalized."""

    def __init__(self, nodes, y, gamma, beta):
        self.nodes, self.y, self.gamma, self.beta = nodes, y, gamma, beta


def _region(graph, inside, x, root):
    """Return the region from x to y; None if nothing of x's size is scaled by the root."""
    full, after, found, y = {x}, {root.output[0]}, {"Mul": None, "Add": None}, None
    for node in inside:
        inputs = [one for one in node.input if one]
        is_full = node.op_type not in REDUCTIONS + SHAPES and any(one in full for one in inputs)
        full.update(node.output if is_full else ())
        if not any(one in after for one in inputs) or node.op_type in SHAPES:
            continue
        role = "Add" if node.op_type == "Sub" else node.op_type
        wide = [n for n in inputs if graph.is_constant(n) and graph.value(n).size > 1]
        constant = wide[0] if wide and role in found else None
        if is_full and y is not None and not _goes_on(graph, node, y, after, found, constant):
            continue
        after.update(node.output)
        if constant is not None and found[role] is None:
            found[role] = constant
        y = node.output[0] if is_full else y
    return None if y is None else _Region(_needed(graph, inside, y), y, found["Mul"], found["Add"])


def _goes_on(graph, node, y, after, found, constant):
    """Whether a node that alone reads y scales or shifts it, and does so for the first time.

    It does so by gamma or beta, or by a term that follows from the root, where an exporter has made
    one factor and one term of all.
    """
    if graph.reader(y) is not node:
        return False
    rest = [one for one in node.input if one and one != y]
    if node.op_type == "Cast" or (
        rest and node.op_type in ("Mul", "Add", "Sub") and rest[0] in after
    ):
        return True
    if constant is None:
        return False
    return found["Add"] is None and (node.op_type != "Mul" or found["Mul"] is None)


def _needed(graph, inside, y):
    names, nodes = {y}, []
    for node in reversed(inside):
        if names.intersection(node.output):
            names.update(node.input)
            nodes.insert(0, node)
    return nodes


# --- from a region to a norm ----------------------------------------------------------------------


def _norm(graph, region, x, reduction, centred):
    """Return the norm of a region; None where its axes are those of no kind."""
    shape = graph.shape(x) or graph.shape(region.y)
    axes = _axes_of(graph, reduction)
    if not axes:
        return None
    if shape is None:
        if any(axis >= 0 for axis in axes):
            return None
        shape = [None] * max(3, -min(axes))
    rank = len(shape)
    axes = sorted(axis % rank for axis in axes)
    affine = [graph.value(name).shape for name in (region.gamma, region.beta) if name]
    kind, text, channels = _kind_of(axes, rank, centred, affine)
    if kind is None:
        return None
    norm = OnnxNorm(graph, region.nodes, x, region.y)
    norm.name = region.nodes[-1].name or region.y
    norm.kind, norm.axes = kind, text
    norm.told["eps"] = _eps_of(graph, region.nodes)
    fixed = _rewritten(graph, norm)
    count = [shape[axis] for axis in axes]
    keeps = fixed or _counts(graph, region, count)
    _sizes(norm, region, shape, axes, channels, keeps)
    return norm


def _axes_of(graph, reduction):
    axes = attribute(reduction, "axes")
    if axes is None and len(reduction.input) > 1 and graph.is_constant(reduction.input[1]):
        axes = graph.value(reduction.input[1]).ravel().tolist()
    return [int(axis) for axis in axes or ()]


def _kind_of(axes, rank, centred, affine):
    """Return the kind, the order of the axes, and the axes of gamma; None for no kind.

    Where the same axes may be those of two kinds, the axes along which gamma varies decide.
    """
    others = [axis for axis in range(rank) if axis not in axes]
    varied = {axis for shape in affine for axis in _varies(shape, rank)}
    if 0 in axes:
        one = centred and len(others) == 1
        return ("batch", "" if others[0] == 1 else "N...C", others) if one else (None, "", [])
    within = "layer" if centred else "rms"
    if axes == list(range(rank - len(axes), rank)):
        by_channels = others == [0, 1] and (varied == {1} or (rank > 3 and not varied))
        return ("instance", "", [1]) if centred and by_channels else (within, "", axes)
    if axes == [1] and (varied == {1} or rank > 3):
        return within, "NCHWDEF"[:rank], axes
    return ("instance", "N...C", others[1:]) if centred and len(others) == 2 else (None, "", [])


def _varies(shape, rank):
    """Return along which axes of x a constant has several values."""
    first = rank - len(shape)
    return [first + at for at, length in enumerate(shape) if length != 1]


def _eps_of(graph, nodes):
    """Return the small constant that is added, or that is the least; None where there is none."""
    for node in nodes:
        if node.op_type in ("Add", "Max", "Clip"):
            for name in node.input[1:] if node.op_type == "Clip" else node.input:
                if name and graph.is_constant(name) and graph.value(name).size == 1:
                    value = float(graph.value(name).ravel()[0])
                    if 0 <= value < 1:
                        return value
    return None


def _rewritten(graph, norm):
    """Let shapes that the file fixes take any number of samples; tell whether there are any."""
    fixed = False
    for node in norm.nodes:
        if node.op_type in ("Reshape", "Expand") and graph.is_constant(node.input[1]):
            shape = graph.value(node.input[1]).ravel()
            if node.op_type == "Reshape" and shape.size and not attribute(node, "allowzero", 0):
                name = "backnorm.shape%d" % len(graph.tensors)
                shape = np.concatenate([[0], shape[1:]]).astype(np.int64)
                graph.add(name, shape)
                node.input[1] = name
            fixed = True
    return fixed


def _counts(graph, region, lengths):
    """Whether a constant of a chain is the number of values that share statistics, or 1 less."""
    n = 0 if None in lengths else int(np.prod(lengths))
    for node in region.nodes:
        for name in node.input:
            if node.op_type not in ("Mul", "Div") or not name or not graph.is_constant(name):
                continue
            value = np.asarray(graph.value(name), np.float64)
            if value.size == 1 and n > 1:
                found = abs(float(value.ravel()[0]))
                near = (n, n - 1, 1.0 / n, 1.0 / (n - 1), n / (n - 1.0), (n - 1.0) / n)
                if found != 1 and any(abs(found - one) < 1e-3 * one for one in near):
                    return True
            elif value.size > 1 and name not in (region.gamma, region.beta):
                return True
    return False


def _sizes(norm, region, shape, axes, channels, keeps):
    """Choose the shape of x; gamma and beta come from the audit where they suit the channels."""
    rank, graph = len(shape), norm.graph
    suits = all(
        set(_varies(graph.value(name).shape, rank)) <= set(channels)
        for name in (region.gamma, region.beta)
        if name
    )
    keeps = keeps or not suits
    small = {2: (CHANNELS,), 3: (3, 6), 4: (CHANNELS, 3, 2), 5: (CHANNELS, 3, 2, 2)}[rank]
    usual = (None,) + small
    lengths = [own if keeps and own else usual[at] for at, own in enumerate(shape)]
    parameter = [lengths[axis] for axis in channels]
    if suits:
        for name, role in ((region.gamma, "gamma"), (region.beta, "beta")):
            if name:
                norm.replace(name, role)
                own = graph.value(name).shape
                at = rank - len(own)
                norm.fed[role] = [
                    lengths[at + place] if length != 1 else 1 for place, length in enumerate(own)
                ]
    if norm.axes:
        # The audit has the channels elsewhere: behind the samples, or last for layer and rms.
        rest = [lengths[axis] for axis in range(1, rank) if axis not in channels]
        whole = parameter + rest if norm.kind in ("batch", "instance") else rest + parameter
    else:
        whole = lengths[1:]
    norm.sample, norm.parameter = tuple(whole), tuple(parameter)

"""Normalizations that an exporter wrote as a chain of nodes: mean, variance, root, quotient.

A chain is recognised by what it computes and not by its order: from a root, whose value follows
from a mean of squares of x, to the last node that scales and shifts what was normalized. All nodes
between depend on x and on constants alone.
"""

import numpy as np

from .chain_norms import norm_of

__all__ = ["chains_in", "units_in"]

MEANS = ("ReduceMean", "GlobalAveragePool")
"""Operators that take a mean; the second, which tf2onnx writes, does so over all axes behind 1."""

REDUCTIONS = (*MEANS, "ReduceSum", "ReduceSumSquare", "ReduceL2")

SHAPES = ("Shape", "Size", "Gather", "ReduceProd", "Slice", "Concat", "Range", "ConstantOfShape")
"""Operators that may count values, for a divisor of n or n - 1."""

ELEMENTWISE = ("Add", "Sub", "Mul", "Div", "Pow", "Sqrt", "Reciprocal", "Neg", "Abs", "Max", "Clip")
MOVES = ("Cast", "CastLike", "Identity", "Reshape", "Squeeze", "Unsqueeze", "Expand")

ALLOWED = set(REDUCTIONS + SHAPES + ELEMENTWISE + MOVES)

PASSED = ("Cast", "Identity", "Reshape", "Squeeze", "Unsqueeze")
"""Operators that leave the values as they are."""


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
        if not centred and not _is_mean(graph, root, reduction):
            continue
        inside = _following(graph, x)
        region = _region(graph, inside, x, root)
        if region is None or any(node is other for node in region.nodes for other in taken):
            continue
        found.update(name for node in region.nodes for name in node.output)
        norm = norm_of(graph, region, x, reduction, centred)
        if norm is not None:
            yield norm


def units_in(graph):
    """Yield the name of each node that divides x by the root of the sum of its squares.

    The audit does not know this kind of normalization: the root is of a sum and not of a mean.
    """
    for root in graph.nodes:
        x = root.input[0] if root.op_type == "ReduceL2" else None
        if x is None and _is_root(graph, root):
            start = _start_of(graph, root)
            if start is not None and not start[2] and not _is_mean(graph, root, start[1]):
                x = start[0]
        after = {root.output[0]}
        for node in graph.nodes if x is not None else ():
            inputs = [one for one in node.input if one]
            if not after.intersection(inputs):
                continue
            if node.op_type in ("Mul", "Div") and x in [_before_cast(graph, n) for n in inputs]:
                yield node.name or node.output[0]
                break
            after.update(node.output if node.op_type in ALLOWED.union(("Min",)) else ())


def _is_mean(graph, root, reduction):
    """Whether a root is of a mean: of one by its operator, or of a sum that is divided before."""
    if reduction.op_type in MEANS:
        return True
    waiting, seen = [root.input[0]], set()
    while waiting:
        node = graph.maker(waiting.pop())
        if node is None or node is reduction or node.output[0] in seen:
            continue
        if node.op_type in ("Mul", "Div"):
            return True
        seen.add(node.output[0])
        waiting += [one for one in node.input if one]
    return False


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

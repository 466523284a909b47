"""From the nodes of a chain to its norm: kind, axes, eps and the shapes that it takes."""

import numpy as np

from .graph import attribute
from .groups import grouped_chain
from .norm import CHANNELS, OnnxNorm

__all__ = ["norm_of"]


def norm_of(graph, region, x, reduction, centred):
    """Return the norm of a region; None where its axes are those of no kind."""
    shape = graph.shape(x) or graph.shape(region.y)
    axes = _axes_of(graph, reduction, len(shape or ()))
    if not axes:
        return None
    if shape is None:
        if any(axis >= 0 for axis in axes):
            return None
        shape = [None] * max(3, -min(axes))
    rank = len(shape)
    axes = sorted(axis % rank for axis in axes)
    count = [shape[axis] for axis in axes]
    norm = grouped_chain(graph, region, x, axes, _counts(graph, region, count)) if centred else None
    if norm is not None:
        norm.name = region.nodes[-1].name or region.y
        norm.told["eps"] = _eps_of(graph, region.nodes)
        return norm
    affine = [graph.value(name).shape for name in (region.gamma, region.beta) if name]
    kind, text, channels = _kind_of(axes, rank, centred, affine)
    if kind is None:
        return None
    norm = OnnxNorm(graph, region.nodes, x, region.y)
    norm.name = region.nodes[-1].name or region.y
    norm.kind, norm.axes = kind, text
    norm.told["eps"] = _eps_of(graph, region.nodes)
    fixed = _rewritten(graph, norm)
    keeps = fixed or _counts(graph, region, count)
    _sizes(norm, region, shape, axes, channels, keeps)
    return norm


def _axes_of(graph, reduction, rank):
    if reduction.op_type == "GlobalAveragePool":
        return list(range(2, rank))
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
    """Return the small constant that is added or that bounds from below; None without one."""
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

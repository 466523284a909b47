"""Normalizations that are one node of an ONNX graph, by ONNX's operators."""

import numpy as np
import onnx

from .graph import DEFAULT_DOMAIN, attribute
from .groups import grouped
from .norm import CHANNELS, INPUT, SPATIAL, OnnxNorm, eps_of

__all__ = ["operators_in"]

NORMALIZED = (6, 3, 2, 2, 2)
"""Lengths of the axes that a node normalizes over, where it is for any length."""

EVALUATED = 64
"""Channels that are audited at most where a node holds its statistics."""

TRAINING_MODE = 15
"""The opset from which a node says by an attribute that it normalizes by the batch."""

CONTRIBUTED = DEFAULT_DOMAIN + ("com.microsoft",)


def operators_in(graph):
    """Yield a `OnnxNorm` for each node that is a normalization."""
    for node in graph.nodes:
        read = READERS.get(node.op_type)
        if read is None or node.domain not in CONTRIBUTED or not node.input:
            continue
        norm = grouped(graph, node)
        if norm is None:
            norm = OnnxNorm(graph, [node], node.input[0], node.output[0])
            read(norm, node)
        norm.name = node.name or norm.y
        norm.told["eps"] = eps_of(node)
        yield norm


def _rank(norm, usual):
    shape = norm.graph.shape(norm.x)
    return len(shape) if shape else usual


def _read(norm, *roles):
    """Let the inputs of a node behind x come from the audit; leave out what is behind them."""
    made = norm.nodes[0]
    for place, role in enumerate(roles, 1):
        if len(made.input) > place and made.input[place]:
            made.input[place] = INPUT % role
            norm.roles.append(role)


def _batch(norm, node):
    norm.told["momentum"] = float(attribute(node, "momentum", 0.9))
    training = bool(attribute(node, "training_mode", 0))
    if norm.opset < TRAINING_MODE:
        # It says so by its outputs: those of the later operator are the same.
        training = any(node.output[1:])
    channels = CHANNELS
    for place, name in ((3, "running_mean"), (4, "running_var")):
        key = node.input[place] if len(node.input) > place else ""
        if key and norm.graph.is_constant(key):
            value = np.asarray(norm.graph.value(key), np.float64).ravel()
            norm.told[name] = value
            channels = min(len(value), CHANNELS if training else EVALUATED)
    _read(norm, "gamma", "beta", "mean", "var")
    made = norm.nodes[0]
    del made.output[1:]
    if training:
        norm.opset = max(norm.opset, TRAINING_MODE)
        kept = [item for item in made.attribute if item.name in ("epsilon", "momentum")]
        del made.attribute[:]
        made.attribute.extend(kept + [onnx.helper.make_attribute("training_mode", 1)])
        made.output.extend(["backnorm.next_mean", "backnorm.next_var"])
        norm.updates = {"mean": "backnorm.next_mean", "var": "backnorm.next_var"}
    norm.sample = (channels,) + SPATIAL.get(_rank(norm, 4), (3, 2))
    norm.parameter = (channels,)


def _instance(norm, node):
    norm.kind = "instance"
    _read(norm, "gamma", "beta")
    norm.sample = (CHANNELS,) + SPATIAL.get(max(_rank(norm, 4), 3), (3, 2))
    norm.parameter = (CHANNELS,)


def _group(norm, node):
    norm.kind, norm.groups = "group", int(attribute(node, "num_groups", 1))
    _read(norm, "gamma", "beta")
    channels = 2 * norm.groups if norm.groups > 1 else CHANNELS
    norm.sample = (channels,) + SPATIAL.get(max(_rank(norm, 4), 3), (3, 2))
    # Opset 21 made gamma and beta ones of the channels; before they were ones of the groups.
    norm.parameter = (norm.groups,) if norm.opset < 21 else (channels,)


def _layer(norm, node):
    norm.kind = "layer"
    _read(norm, "gamma", "beta")
    _trailing(norm, node)


def _rms(norm, node):
    norm.kind = "rms"
    _read(norm, "gamma")
    _trailing(norm, node)


def _trailing(norm, node):
    """Read over which last axes a node normalizes."""
    del norm.nodes[0].output[1:]
    rank, axis = _rank(norm, 3), int(attribute(node, "axis", -1))
    count = max(-axis if axis < 0 else rank - axis, 1)
    norm.parameter = NORMALIZED[:count][::-1]
    norm.sample = (3, 2, 2, 2)[: max(rank - 1 - count, 0)] + norm.parameter


READERS = {
    "BatchNormalization": _batch,
    "InstanceNormalization": _instance,
    "GroupNormalization": _group,
    "LayerNormalization": _layer,
    "RMSNormalization": _rms,
    "SimplifiedLayerNormalization": _rms,
}
"""The operators, and what reads their nodes."""

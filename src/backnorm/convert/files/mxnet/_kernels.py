"""The kernels of an MXNet symbol: Convolution, Deconvolution and FullyConnected nodes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from backnorm.convert.files._trace import NO_MAP, TraceStep, channels_before
from backnorm.convert.files.mxnet._symbol import options_given
from backnorm.convert.files.naming._layouts import LAYOUTS
from backnorm.convert.files.naming.numbers import whole_number
from backnorm.convert.files.record import LayerKernel

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from backnorm._types import AnyArray

__all__ = ["kernels_of"]

KINDS: Final = {"Convolution": "conv", "Deconvolution": "transposed", "FullyConnected": "dense"}

SAME: Final = ("Activation", "LeakyReLU", "Dropout", "relu", "sigmoid", "clip", "identity", "_copy")
KEEPS: Final = (
    *("BatchNorm", "Pooling", "LRN", "elemwise_add", "_Plus", "_plus", "broadcast_add"),
    *("add_n", "ElementWiseSum", "Pad"),
)
ROLES: Final = (
    dict.fromkeys(SAME, "same")
    | dict.fromkeys(KEEPS, "keeps")
    | {"Flatten": "flatten", "flatten": "flatten", "Concat": "concat"}
)


def kernels_of(
    nodes: Sequence[Mapping[str, Any]], arrays: Mapping[str, AnyArray]
) -> tuple[LayerKernel, ...]:
    """Find the kernels among the arrays of a parameter file.

    Parameters
    ----------
    nodes
        The nodes of the symbol.
    arrays
        The arrays that belong to no normalization.

    Returns
    -------
    tuple of LayerKernel
        In the order of the nodes.
    """
    plain = {name.removeprefix("arg:").removeprefix("aux:"): name for name in arrays}
    steps = {str(index): _step(node, nodes, plain, arrays) for index, node in enumerate(nodes)}
    found = []
    for node in nodes:
        kind = KINDS.get(str(node.get("op")))
        weight, bias = (_parameter(node, nodes, plain, index) for index in (1, 2))
        if kind is None or not weight:
            continue
        options = _options(node)
        if options.get("layout", "NC")[:2] not in {"NC", "No"}:  # channels last; None is as NC
            continue
        groups = whole_number(options.get("num_group", "1")) or 1
        channels = None
        shape = arrays[weight].shape
        if kind == "dense":
            flattens = options.get("flatten", "True") in {"True", "1"}
            channels = channels_before(steps, _source(node, 0), flattens=flattens)
            channels = int(shape[-1]) if channels == NO_MAP and shape else channels
        elif kind == "conv" and groups > 1 and shape[1:2] == (1,) and shape[0] >= groups:
            kind, channels = "depthwise", groups
        layout = LAYOUTS["mxnet"][kind]
        found.append(
            LayerKernel(str(node.get("name")), kind, weight, layout, bias, channels, groups)
        )
    return tuple(found)


def _options(node: Mapping[str, Any]) -> Mapping[str, str]:
    given = options_given(node)
    return {key: str(value) for key, value in given.items()} if isinstance(given, dict) else {}


def _source(node: Mapping[str, Any], index: int) -> str:
    """Return the number of the node that an input comes from, as text; empty if there is none."""
    inputs = node.get("inputs")
    entry = inputs[index] if isinstance(inputs, list) and index < len(inputs) else None
    return str(entry[0]) if isinstance(entry, list) and entry else ""


def _parameter(
    node: Mapping[str, Any],
    nodes: Sequence[Mapping[str, Any]],
    plain: Mapping[str, str],
    index: int,
) -> str:
    """Return the name of the array that an input is; empty if it is computed."""
    source = whole_number(_source(node, index))
    if source is None or source >= len(nodes):
        return ""
    return plain.get(str(nodes[source].get("name")), "")


def _step(
    node: Mapping[str, Any],
    nodes: Sequence[Mapping[str, Any]],
    plain: Mapping[str, str],
    arrays: Mapping[str, AnyArray],
) -> TraceStep:
    operator = str(node.get("op"))
    inputs = node.get("inputs")
    count = len(inputs) if isinstance(inputs, list) else 0
    sources = tuple(_source(node, index) for index in range(count))
    weight = _parameter(node, nodes, plain, 1)
    if operator == "FullyConnected":
        return TraceStep("vector", sources)
    if operator == "Convolution" and weight:
        return TraceStep("map", sources, next(iter(arrays[weight].shape), None))
    role = ROLES.get(operator, "other")
    if role == "concat" and _options(node).get("dim", "1") != "1":
        role = "other"
    return TraceStep(role, sources)

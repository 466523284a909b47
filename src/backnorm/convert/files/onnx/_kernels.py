"""The kernels of an ONNX graph: Conv, ConvTranspose, Gemm and MatMul nodes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from backnorm.convert.files._trace import NO_MAP, TraceStep, channels_before
from backnorm.convert.files.naming._layouts import LAYOUTS
from backnorm.convert.files.record import LayerKernel

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from backnorm._types import AnyArray
    from backnorm.convert.files.onnx._graph import Graph

__all__ = ["kernels_of"]

CONVOLUTIONS: Final = {"Conv": "conv", "ConvTranspose": "transposed"}

SAME: Final = (
    *("Relu", "LeakyRelu", "Sigmoid", "Tanh", "Elu", "Selu", "Clip", "Dropout", "Identity"),
    *("HardSwish", "HardSigmoid", "Softmax", "Softplus", "Cast"),
)
KEEPS: Final = (
    *("BatchNormalization", "InstanceNormalization", "LRN", "MaxPool", "AveragePool", "PRelu"),
    *("GlobalAveragePool", "GlobalMaxPool", "Add", "Sum", "Mul", "Pad", "Resize"),
)
ROLES: Final = (
    dict.fromkeys(SAME, "same")
    | dict.fromkeys(KEEPS, "keeps")
    | {"Flatten": "flatten", "Concat": "concat"}
)

UNKNOWN_ROWS: Final = {"O(IS)": "OI", "(IS)O": "IO"}
"""The layout where a map may have been flattened channels last."""

TO_LAST: Final = ([0, 2, 3, 1], [0, 2, 3, 4, 1])
"""What a Transpose does with a map before it is flattened channels last, as in networks from
TensorFlow."""


def kernels_of(graph: Graph, arrays: Mapping[str, AnyArray]) -> tuple[LayerKernel, ...]:
    """Find the kernels among the tensors of a graph.

    Parameters
    ----------
    graph
        The graph.
    arrays
        The tensors that belong to no normalization.

    Returns
    -------
    tuple of LayerKernel
        In the order of the nodes.
    """
    before, transposes = graph.sources(), graph.transposes()
    steps, last = _steps(graph, arrays), _has_channels_last(graph)
    found: dict[str, LayerKernel] = {}
    for node in graph.model.graph.node:
        keys = [graph.key_of(name, before) for name in node.input]
        weight = keys[1] if len(keys) > 1 else None
        transpose = transposes.get(node.input[1]) if len(keys) > 1 else None
        if transpose is not None and node.op_type == "MatMul":
            weight = graph.key_of(transpose.input[0], before)
        if weight not in arrays or weight is None or weight in found:
            continue
        bias = keys[2] if len(keys) > 2 else None  # noqa: PLR2004 - data, weight, bias
        attributes = {item.name: item for item in node.attribute}
        stem = weight.removesuffix(".weight")  # of PyTorch's exporters
        name = stem if stem != weight else node.name or weight
        if node.op_type in CONVOLUTIONS:
            groups = attributes["group"].i if "group" in attributes else 1
            found[weight] = _convolution(node, name, weight, bias, groups, arrays)
        elif node.op_type in {"Gemm", "MatMul"} and arrays[weight].ndim == 2:  # noqa: PLR2004
            layout = "O(IS)" if transpose is not None else _dense_layout(node, attributes)
            if not layout:
                continue
            if node.op_type == "MatMul":
                bias = _added(graph, node, before)
            channels = channels_before(steps, node.input[0], flattens=False)
            if channels == NO_MAP:
                channels = int(arrays[weight].shape[layout == LAYOUTS["onnx"]["dense"]])
            layout = UNKNOWN_ROWS[layout] if channels is None and last else layout
            bias = bias if bias in arrays else None
            found[weight] = LayerKernel(name, "dense", weight, layout, bias or "", channels)
    return tuple(found.values())


def _has_channels_last(graph: Graph) -> bool:
    """Return whether the network puts the channels of a map last."""
    nodes = (node for node in graph.model.graph.node if node.op_type == "Transpose")
    return any(list(item.ints) in TO_LAST for node in nodes for item in node.attribute)


def _convolution(  # noqa: PLR0917 - the parts of one node
    node: Any,
    name: str,
    weight: str,
    bias: str | None,
    groups: int,
    arrays: Mapping[str, AnyArray],
) -> LayerKernel:
    kind = CONVOLUTIONS[node.op_type]
    shape = arrays[weight].shape
    if kind == "conv" and groups > 1 and shape[1:2] == (1,) and shape[0] >= groups:
        kind = "depthwise"
    channels = groups if kind == "depthwise" else None
    bias = bias if bias in arrays else None
    return LayerKernel(name, kind, weight, LAYOUTS["onnx"][kind], bias or "", channels, groups)


def _dense_layout(node: Any, attributes: Mapping[str, Any]) -> str:
    """Return the layout of a matrix; empty if the node computes more than a dense layer does."""
    if node.op_type == "MatMul":
        return "(IS)O"
    scaled = any(attributes[key].f != 1 for key in ("alpha", "beta") if key in attributes)
    if scaled or ("transA" in attributes and attributes["transA"].i):
        return ""
    transposed = "transB" in attributes and attributes["transB"].i
    return "O(IS)" if transposed else "(IS)O"


def _added(graph: Graph, node: Any, before: Mapping[str, str]) -> str | None:
    """Return the tensor that the one reader of a product adds to it."""
    product = next(iter(node.output), "")
    readers = [other for other in graph.model.graph.node if product in other.input]
    if len(readers) != 1 or readers[0].op_type != "Add":
        return None
    others = [name for name in readers[0].input if name != product]
    return graph.key_of(others[0], before) if others else None


def _steps(graph: Graph, arrays: Mapping[str, AnyArray]) -> dict[str, TraceStep]:
    """Return what each node does to the channels, by the names of its outputs."""
    before = graph.sources()
    steps = {value.name: _input(value) for value in graph.model.graph.input}
    for node in graph.model.graph.node:
        inputs = tuple(name for name in node.input if graph.key_of(name, before) is None)
        role, channels = ROLES.get(node.op_type, "other"), None
        if node.op_type in CONVOLUTIONS:
            key = graph.key_of(node.input[1], before) if len(node.input) > 1 else None
            if key in arrays and key is not None and arrays[key].ndim > 1:
                role, channels = "map", _outputs(node, arrays[key].shape)
        elif node.op_type in {"Gemm", "MatMul"}:
            role = "vector"
        elif node.op_type in {"Flatten", "Concat"} and _axis(node) != 1:
            role = "other"
        elif node.op_type == "Add" and len(inputs) == 1:
            role = "same"  # a bias
        elif node.op_type == "Reshape" and _flattens(graph, node, before, arrays):
            role = "flatten"
        steps |= {name: TraceStep(role, inputs, channels) for name in node.output}
    return steps


def _outputs(node: Any, shape: Sequence[int]) -> int:
    """Return how many channels a convolution writes."""
    groups = next((int(item.i) for item in node.attribute if item.name == "group"), 1)
    return shape[0] if node.op_type == "Conv" else shape[1] * groups


def _axis(node: Any) -> int:
    return next((int(item.i) for item in node.attribute if item.name == "axis"), 1)


def _flattens(
    graph: Graph, node: Any, before: Mapping[str, str], arrays: Mapping[str, AnyArray]
) -> bool:
    """Return whether a Reshape makes a matrix, with one row for each image."""
    key = graph.key_of(node.input[1], before) if len(node.input) > 1 else None
    return key in arrays and key is not None and arrays[key].size == 2  # noqa: PLR2004


def _input(value: Any) -> TraceStep:
    """Tell an input of the network: a matrix holds vectors, and a map may have any order."""
    axes = len(value.type.tensor_type.shape.dim)
    return TraceStep("vector" if axes == 2 else "other")  # noqa: PLR2004

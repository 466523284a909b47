"""ONNX: .onnx, BatchNormalization nodes whose parameters are initializers.

A tensor may say that its values are in a file beside. Those of the layers are read from there, if
it is in the model's own folder; all others stay where they are.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from backnorm.convert.files._flat import distinct
from backnorm.convert.files._guard import guard
from backnorm.convert.files._onnx_tensor import read_tensor
from backnorm.convert.files._slots import stored
from backnorm.convert.files.record import ModelFile, NormLayer
from backnorm.convert.files.registry import Format, register
from backnorm.dialects import DIALECTS, row_of
from backnorm.errors import FileError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from backnorm._types import AnyArray
    from backnorm.convert.files.record import FileOption

__all__ = ["FORMAT"]

OPERATOR: Final = "BatchNormalization"

FIELDS: Final = {
    name: tuple(array.name for array in row_of(name).arrays.known)
    for name in DIALECTS
    if name.startswith("onnx-")
}
"""A node's inputs after the data, in each version of the operator, the oldest first."""


@dataclass(frozen=True, slots=True, eq=False)
class _Parsed:
    """The bytes that were read, their path, and the initializer of each layer's field."""

    data: bytes
    path: Path
    keys: Mapping[tuple[str, str], str]


def read(path: Path, data: bytes, net: Path | None) -> ModelFile:  # noqa: ARG001 - inside
    """Read the layers of an .onnx file."""
    model = _parsed(path.name, data)
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    dialect = _dialect(path.name, model)
    keys: dict[tuple[str, str], str] = {}
    layers, notes = [], []
    for name, node in _named(model):
        inputs = dict(zip(FIELDS[dialect], node.input[1:], strict=False))
        if len(inputs) < len(FIELDS[dialect]) or not all(key in tensors for key in inputs.values()):
            notes.append(f"{name}: not all of its parameters are initializers; it is left alone")
            continue
        if any(item.name == "training_mode" and item.i for item in node.attribute):
            notes.append(f"{name}: it normalizes by the batch, always; it is left alone")
            continue
        keys.update({(name, field): key for field, key in inputs.items()})
        state = {
            field: read_tensor(path, f"layer {name}, {field}", tensors[key])
            for field, key in inputs.items()
        }
        layers.append(NormLayer(name, dialect, state, _options(path.name, name, node)))
    taken = set(keys.values())
    others = {}
    for name, tensor in tensors.items():
        if name not in taken:
            others[name] = read_tensor(path, name, tensor)
    return ModelFile(path, "onnx", tuple(layers), others, tuple(notes), _Parsed(data, path, keys))


def _parsed(file: str, data: bytes) -> Any:
    with guard(file, "onnx"):
        return onnx.load_model_from_string(data)


def _dialect(file: str, model: Any) -> str:
    """Return which version of the operator the model's opset has."""
    versions = [entry.version for entry in model.opset_import if entry.domain in {"", "ai.onnx"}]
    opset = max(versions, default=1)
    for dialect in reversed(FIELDS):
        if opset >= _opset(dialect):
            return dialect
    if any(node.op_type == OPERATOR for node in model.graph.node):
        raise FileError.malformed(file, "opset_import", "be opset 9 or newer", f"opset {opset}")
    return next(iter(FIELDS))


def _opset(dialect: str) -> int:
    """Return the opset that brought a version of the operator."""
    return int(dialect.rpartition("-")[2])


def _named(model: Any) -> Iterator[tuple[str, Any]]:
    """Yield the normalization nodes of the graph, each under its name or its output's."""
    used: set[str] = set()
    for index, node in enumerate(model.graph.node):
        if node.op_type == OPERATOR and node.domain in {"", "ai.onnx"}:
            name = node.name or next(iter(node.output), "") or f"{OPERATOR}_{index}"
            name = f"{name}_{index}" if name in used else name
            used.add(name)
            yield name, node


def _options(file: str, name: str, node: Any) -> dict[str, FileOption]:
    options: dict[str, FileOption] = {}
    for attribute in node.attribute:
        if attribute.name in {"epsilon", "momentum"}:
            if attribute.type != onnx.AttributeProto.FLOAT:
                place = f"layer {name}, {attribute.name}"
                raise FileError.malformed(file, place, "be a FLOAT", f"type {attribute.type}")
            options[attribute.name] = float(attribute.f)
    return options


def write(model: ModelFile) -> bytes:
    """Write over the initializers of the model that was read, or make a model of the layers."""
    if not isinstance(model.content, _Parsed):
        return _new(model)
    parsed = _parsed(model.path.name, model.content.data)
    tensors = {tensor.name: tensor for tensor in parsed.graph.initializer}
    source = model.content.path
    if model.path.parent.resolve() != source.parent.resolve():
        for tensor in tensors.values():
            if tensor.data_location == TensorProto.EXTERNAL:
                raise FileError.neighbours(model.path.name, tensor.name, source.name)
    changed = False
    for layer in model.layers:
        for field, array in layer.state.items():
            place = f"layer {layer.name}, {field}"
            key = model.content.keys.get((layer.name, field))
            if key is None:
                raise FileError.no_room(model.path.name, place, "an array that was not there")
            changed |= _write_over(source, place, array, tensors[key])
    return bytes(parsed.SerializeToString()) if changed else model.content.data


def _write_over(path: Path, place: str, array: AnyArray, tensor: Any) -> bool:
    """Put an array into a tensor, and say whether that changes anything."""
    old = read_tensor(path, place, tensor)
    content = stored(path.name, place, array, old.dtype, old.shape)
    if content == old.tobytes():
        return False
    new = np.frombuffer(content, old.dtype).reshape(old.shape)
    tensor.CopyFrom(numpy_helper.from_array(new, tensor.name))
    return True


def _new(model: ModelFile) -> bytes:
    """Make a model in which each layer has its input and its output."""
    file = model.path.name
    nodes, inputs, outputs, tensors = [], [], [], []
    for layer in model.layers:
        name = _identifier(layer.name)
        fields = FIELDS[layer.dialect]
        tensors += [_tensor(file, f"{name}.{field}", layer.state[field]) for field in fields]
        kind = helper.np_dtype_to_tensor_dtype(layer.state[fields[0]].dtype)
        shape: list[str | int | None] = ["N", layer.state[fields[0]].size, None]
        inputs.append(helper.make_tensor_value_info(f"{name}_input", kind, shape))
        outputs.append(helper.make_tensor_value_info(f"{name}_output", kind, shape))
        options: dict[str, Any] = {
            key: layer.options[key] for key in ("epsilon", "momentum") if key in layer.options
        }
        sources = [f"{name}_input", *(f"{name}.{field}" for field in fields)]
        nodes.append(helper.make_node(OPERATOR, sources, [f"{name}_output"], layer.name, **options))
    tensors += [_tensor(file, name, array) for name, array in model.others.items()]
    values: list[Any] = [*inputs, *outputs, *tensors]
    distinct(file, ((value.name, value) for value in values))
    graph = helper.make_graph(nodes, "normalizations", inputs, outputs, tensors)
    opsets = [_opset(layer.dialect) for layer in model.layers]
    opset = helper.make_opsetid("", max(opsets, default=_opset(FORMAT.dialects[0])))
    # The oldest IR version that has this opset: whoever reads the opset reads the file.
    whole = helper.make_model(
        graph, opset_imports=[opset], ir_version=helper.find_min_ir_version_for([opset])
    )
    return bytes(whole.SerializeToString())


def _identifier(name: str) -> str:
    return re.sub(r"\s", "_", name) or "norm"


def _tensor(file: str, name: str, array: AnyArray) -> TensorProto:
    with guard(file, "onnx"):
        return numpy_helper.from_array(np.ascontiguousarray(array).reshape(array.shape), name)


FORMAT: Final = Format("onnx", tuple(reversed(FIELDS)), read, write)

register(FORMAT)

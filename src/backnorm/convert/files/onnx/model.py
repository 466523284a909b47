"""ONNX: .onnx, BatchNormalization nodes whose parameters the model holds.

They are initializers, or Constant nodes, or behind Identity nodes. A tensor may say that its values
are in a file beside: they are read from there, if it is in the model's own folder.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import onnx
from onnx import TensorProto, version_converter

from backnorm.convert.files._budget import Budget, Source
from backnorm.convert.files._content import InMemory
from backnorm.convert.files._flat_kernels import kernels_by_name
from backnorm.convert.files._guard import guard
from backnorm.convert.files._notes import grouped
from backnorm.convert.files._slots import stored
from backnorm.convert.files.folding._law import layer_fold
from backnorm.convert.files.onnx._fold import GraphFolder
from backnorm.convert.files.onnx._graph import FIELDS, Graph, dialect_of, opset_of, why_left
from backnorm.convert.files.onnx._kernels import kernels_of
from backnorm.convert.files.onnx._new import new_model
from backnorm.convert.files.onnx._tensor import TensorReader
from backnorm.convert.files.record import ModelFile, NormLayer
from backnorm.convert.files.registry import Format, register
from backnorm.errors import FileError, FoldError, WriteError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from backnorm._types import AnyArray
    from backnorm.convert.files.record import FileOption, LayerFold

__all__ = ["FORMAT"]


@dataclass(frozen=True, slots=True, eq=False)
class _Parsed:
    """The bytes that were read, and their path."""

    data: bytes
    path: Path


def read(source: Source) -> ModelFile:
    """Read the layers of an .onnx file."""
    path = source.path
    data = source.data
    source.budget.take("the model", len(data))
    graph = Graph.of(_parsed(path.name, data))
    dialect = dialect_of(path.name, graph.model)
    tensors, before = TensorReader(path, source.budget), graph.sources()
    layers, taken, notes = [], set(), []
    for name, node in graph.norms():
        keys = [graph.key_of(key, before) for key in node.input[1 : 1 + len(FIELDS[dialect])]]
        why = why_left(node, dialect)
        if not why and None in keys:
            why = "not all of its parameters are stored in the model; it is left alone"
        if why:
            notes.append((name, why))
            continue
        found = dict(zip(FIELDS[dialect], map(str, keys), strict=True))
        state = {
            field: tensors.read(f"layer {name}, {field}", graph.tensors[key])
            for field, key in found.items()
        }
        taken |= set(found.values())
        layers.append(NormLayer(name, dialect, state, _options(path.name, name, node)))
    left = {name: tensor for name, tensor in graph.tensors.items() if name not in taken}
    text = {name for name, tensor in left.items() if tensor.data_type == TensorProto.STRING}
    notes += [(name, "it is text, and carried through in this format only") for name in text]
    others = {name: tensors.read(name, left[name]) for name in left if name not in text}
    content, kernels = _Parsed(data, path), kernels_of(graph, others)
    unused = {name: array.shape for name, array in others.items() if not graph.uses[name]}
    kernels += kernels_by_name(layers, unused)
    return ModelFile(
        path,
        "onnx",
        tuple(layers),
        others,
        grouped(notes),
        content,
        kernels,
        folded=graph.folded(),
    )


def _parsed(file: str, data: bytes) -> Any:
    with guard(file, "onnx"):
        parsed = onnx.load_model_from_string(data)
        _check_text(file, parsed)
    if not parsed.HasField("graph"):  # protocol buffers pass over fields that they do not know
        raise FileError.malformed(file, "the model", "have a graph", "none")
    return parsed


def _check_text(file: str, parsed: Any) -> None:
    """Refuse text that is not UTF-8: the library returns it as bytes, where a name is expected."""
    waiting = [parsed]
    while waiting:
        for field, value in waiting.pop().ListFields():
            if field.type == field.TYPE_MESSAGE:
                waiting += [value] if hasattr(value, "ListFields") else value
            elif field.type == field.TYPE_STRING:
                texts = [value] if isinstance(value, bytes | str) else value
                for wrong in (text for text in texts if isinstance(text, bytes)):
                    got = repr(wrong[:40])
                    raise FileError.malformed(file, field.name, "be UTF-8 text", got)


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
    """Put the layers into the model that was read, or make a model of the layers."""
    dialects = sorted({layer.dialect for layer in model.layers}, key=opset_of)
    if len(dialects) > 1:
        raise WriteError.several_versions(model.path.name, dialects)
    if not isinstance(model.content, _Parsed):
        return new_model(model)
    file, source = model.path.name, model.content.path
    parsed = _parsed(file, model.content.data)
    external = [
        name
        for name, tensor in Graph.of(parsed).tensors.items()
        if tensor.data_location == TensorProto.EXTERNAL
    ]
    if external and model.path.parent.resolve() != source.parent.resolve():
        raise WriteError.neighbours(file, external[0], source.name)
    own = dialect_of(file, parsed)
    (wanted,) = dialects or [own]
    if wanted != own:
        parsed = _in_opset(file, parsed, opset_of(wanted), external)
    graph = Graph.of(parsed)
    tensors = TensorReader(source, Budget(file, math.inf))  # the reader has let it pass
    nodes, before = dict(graph.norms()), graph.sources()
    changed = [
        _put(file, graph, tensors, before, (layer, nodes.get(layer.name))) for layer in model.layers
    ]
    same = wanted == own and not any(changed)
    with guard(file, "onnx"):
        return model.content.data if same else bytes(parsed.SerializeToString())


def fold(model: ModelFile, _: ModelFile | None) -> tuple[ModelFile, tuple[LayerFold, ...]]:
    """Fold the norms of the graph that was read; the same graph is read again after that."""
    if not isinstance(model.content, _Parsed):
        raise FoldError.no_graph(model.path.name, "onnx")
    source, file = model.content.path, model.path.name
    graph = Graph.of(_parsed(file, model.content.data))
    unlimited = Budget(file, math.inf)  # the reader has let it pass
    results = GraphFolder(graph, TensorReader(source, unlimited)).fold(model.layers)
    with guard(file, "onnx"):
        data = bytes(graph.model.SerializeToString())
    folds = tuple(map(layer_fold, model.layers, results))
    return read(Source(source, InMemory(data), None, unlimited)), folds


def _in_opset(file: str, parsed: Any, opset: int, external: list[str]) -> Any:
    """Return the whole model in another opset, as onnx converts it."""
    if external:
        raise WriteError.other_opset(file, opset, f"{external[0]} has its values in another file")
    try:
        return version_converter.convert_version(parsed, opset)
    except Exception as error:  # of any kind: it is C++ code
        raise WriteError.other_opset(file, opset, f"{type(error).__name__}: {error}") from error


def _put(
    file: str,
    graph: Graph,
    tensors: TensorReader,
    before: Mapping[str, str],
    pair: tuple[NormLayer, Any],
) -> bool:
    """Put a layer's arrays into its node, and say whether that changes anything."""
    layer, node = pair
    fields = FIELDS[layer.dialect]
    changed = False
    for field, array in layer.state.items():
        place = f"layer {layer.name}, {field}"
        index = 1 + fields.index(field) if field in fields else 0
        key = graph.key_of(node.input[index], before) if node is not None and index else None
        if key is None:
            raise WriteError.no_room(file, place, "an array that was not there")
        old = tensors.read(place, graph.tensors[key])
        content = stored(file, place, array, old.dtype, old.shape)
        if content != old.tobytes():
            values: AnyArray = np.frombuffer(content, old.dtype).reshape(old.shape)
            graph.put(node, index, key, values)
            changed = True
    return changed


FORMAT: Final = Format("onnx", tuple(reversed(FIELDS)), read, write, fold=fold, keeps_versions=True)

register(FORMAT)

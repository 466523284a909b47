"""ONNX models as exporters write them: where parameters are, what opset, and what is missing."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from backnorm.convert import files
from backnorm.dialects import row_of
from backnorm.errors import FileError
from files.fuzzing.entry import CORPUS

if TYPE_CHECKING:
    from pathlib import Path

onnx = pytest.importorskip("onnx", reason="onnx is not installed; make test has it")

reference = pytest.importorskip("onnx.reference", reason="onnx is old; make test has a newer one")

FIELDS = "sbmv"


def tensor(name: str, value: float = 2.0) -> Any:
    """A parameter of four channels."""
    return onnx.numpy_helper.from_array(np.full(4, value, np.float32), name)


def saved(path: Path, nodes: list[Any], tensors: list[Any], opset: int = 13) -> Path:
    """Save a graph from x to y."""
    values = [onnx.helper.make_tensor_value_info(name, 1, ["N", 4]) for name in "xy"]
    graph = onnx.helper.make_graph(nodes, "g", values[:1], values[1:], tensors)
    opsets = [onnx.helper.make_opsetid("", opset)]
    onnx.save(onnx.helper.make_model(graph, opset_imports=opsets, ir_version=8), path)
    return path


def node(kind: str, inputs: list[str], outputs: list[str], **attributes: Any) -> Any:
    """A node that is named after its output."""
    return onnx.helper.make_node(kind, inputs, outputs, name=outputs[0], **attributes)


def norm(x: str, parameters: str, y: str, **attributes: Any) -> Any:
    """A batch normalization."""
    return node("BatchNormalization", [x, *parameters], [y], **attributes)


def changed(model: files.ModelFile, index: int = 0) -> files.ModelFile:
    """Give a layer other values of its scale."""
    layers = list(model.layers)
    state = {**layers[index].state, "scale": np.full(4, 5, np.float32)}
    layers[index] = replace(layers[index], state=state)
    return replace(model, layers=tuple(layers))


def computed(path: Path) -> np.ndarray:
    """Run a model on ones by onnx's reference."""
    (y,) = reference.ReferenceEvaluator(onnx.load(path)).run(
        None, {"x": np.ones((1, 4), np.float32)}
    )
    result: np.ndarray = y
    return result


@pytest.mark.parametrize("kind", ["value", "value_floats"])
def test_parameters_of_constant_nodes_are_read_and_written(kind: str, tmp_path: Path) -> None:
    """PaddlePaddle's exporter writes them so."""
    values = {
        "value": lambda name: {"value": tensor(name)},
        "value_floats": lambda _: {"value_floats": [2.0] * 4},
    }
    constants = [node("Constant", [], [name], **values[kind](name)) for name in FIELDS]
    nodes = [*constants, norm("x", FIELDS, "t"), node("Relu", ["t"], ["y"])]
    path = saved(tmp_path / "a.onnx", nodes, [])
    model = files.read(path)
    assert model.layers[0].state["scale"].tolist() == [2.0] * 4
    files.write(tmp_path / "b.onnx", changed(model))
    onnx.checker.check_model(onnx.load(tmp_path / "b.onnx"), full_check=True)
    assert files.read(tmp_path / "b.onnx").layers[0].state["scale"].tolist() == [5.0] * 4
    assert (computed(tmp_path / "b.onnx") != computed(path)).all()


def test_parameters_behind_identity_are_read_and_written_apart(tmp_path: Path) -> None:
    """PyTorch's legacy exporter gives two layers one initializer if their values are the same."""
    identities = [node("Identity", [name], [f"{name}{name}"]) for name in FIELDS]
    second = node("BatchNormalization", ["t", *(f"{name}{name}" for name in FIELDS)], ["y"])
    nodes = [*identities, norm("x", FIELDS, "t"), second]
    path = saved(tmp_path / "a.onnx", nodes, [tensor(name) for name in FIELDS])
    model = files.read(path)
    assert [layer.state["scale"].tolist() for layer in model.layers] == [[2.0] * 4] * 2
    for index in (0, 1):
        files.write(tmp_path / "b.onnx", changed(model, index))
        onnx.checker.check_model(onnx.load(tmp_path / "b.onnx"), full_check=True)
        scales = [layer.state["scale"][0] for layer in files.read(tmp_path / "b.onnx").layers]
        assert scales == [5.0 if index == layer else 2.0 for layer in (0, 1)]


def test_identities_in_a_circle_are_left_alone(tmp_path: Path) -> None:
    """A damaged graph does not keep the reader busy."""
    nodes = [node("Identity", ["s"], ["r"]), node("Identity", ["r"], ["s"]), norm("x", FIELDS, "y")]
    path = saved(tmp_path / "a.onnx", nodes, [tensor(name) for name in "bmv"])
    model = files.read(path)
    assert model.layers == ()
    assert "y: not all of its parameters are stored" in model.notes[0]


@pytest.mark.parametrize(("opset", "to"), [(9, "onnx-9"), (13, "onnx-9"), (14, "onnx-14")])
def test_another_opset_keeps_the_network(opset: int, to: str, tmp_path: Path) -> None:
    """With onnx as the target nothing changes; with a version the whole model is converted."""
    nodes = [norm("x", FIELDS, "t", epsilon=0.5), node("Relu", ["t"], ["y"])]
    tensors = [tensor(name, index) for index, name in enumerate(FIELDS)]
    path = saved(tmp_path / "a.onnx", nodes, tensors, opset)
    model = files.read(path)
    for dialect, opset_after in (("onnx", opset), (to, opset), ("onnx-15", 15)):
        converted, _ = files.convert_model(model, tmp_path / "b.onnx", dialect)
        files.write(tmp_path / "b.onnx", converted)
        after = onnx.load(tmp_path / "b.onnx")
        assert [node.op_type for node in after.graph.node] == ["BatchNormalization", "Relu"]
        assert after.opset_import[0].version == opset_after
        np.testing.assert_array_equal(computed(tmp_path / "b.onnx"), computed(path))


def test_an_opset_that_onnx_cannot_convert_to_is_refused(tmp_path: Path) -> None:
    """Rather than write the layers and drop the network."""
    path = saved(
        tmp_path / "a.onnx", [norm("x", FIELDS, "y")], [tensor(name) for name in FIELDS], 15
    )
    converted, _ = files.convert_model(files.read(path), tmp_path / "b.onnx", "onnx-9")
    with pytest.raises(FileError, match=r"^b\.onnx cannot be written in opset 9: .*'onnx' to keep"):
        files.write(tmp_path / "b.onnx", converted)


@pytest.mark.parametrize(
    ("opset", "sign"), [(14, "training_mode is 1"), (13, "outputs of training")]
)
def test_nodes_in_training_mode_are_named(opset: int, sign: str, tmp_path: Path) -> None:
    """A model exported in training has no layer to convert, and is told why."""
    outputs = ["y", "rm", "rv"] if opset == 14 else ["y", "rm", "rv", "sm", "sv"]
    mode = {"training_mode": 1} if opset == 14 else {}
    nodes = [node("BatchNormalization", ["x", *FIELDS], outputs, **mode)]
    path = saved(tmp_path / "a.onnx", nodes, [tensor(name) for name in FIELDS], opset)
    with pytest.raises(
        FileError, match=rf"no normalization layer that can .* y: .*{sign}: it norm"
    ):
        files.convert_model(files.read(path), tmp_path / "b.pt", "torch")


def test_folded_batch_norm_is_named(tmp_path: Path) -> None:
    """Exporters fold batch norm into the convolution before it, which gets a bias."""
    weight = onnx.numpy_helper.from_array(np.ones((4, 4, 1), np.float32), "w")
    nodes = [node("Conv", ["x", "w", "b"], ["y"])]
    path = saved(tmp_path / "a.onnx", nodes, [weight, tensor("b")])
    with pytest.raises(FileError, match=r"convolutions have a bias \(1\), and no Batch.*folded it"):
        files.convert_model(files.read(path), tmp_path / "b.pt", "torch")


def test_text_of_a_model_is_left_alone(tmp_path: Path) -> None:
    """It is not a number, and no fault of the file."""
    text = onnx.helper.make_tensor("words", onnx.TensorProto.STRING, [1], [b"a"])
    tensors = [text, *(tensor(name) for name in FIELDS)]
    model = files.read(saved(tmp_path / "a.onnx", [norm("x", FIELDS, "y")], tensors))
    assert model.notes == ("words: it is text, and carried through in this format only",)
    assert len(model.layers) == 1


def test_text_that_is_not_utf_8_is_refused() -> None:
    """The library returns it as bytes; found by the fuzz target, which keeps the file."""
    path = CORPUS / "onnx" / "name-not-utf-8.onnx"
    with pytest.raises(FileError, match=r"^name-not-utf-8\.onnx, name must be UTF-8 text, got b'"):
        files.read(path)


def test_layers_of_several_versions_are_refused(tmp_path: Path) -> None:
    """A file has one opset: the layers of another version would silently be of this one."""
    ones = np.ones(3, np.float32)
    layers = []
    for dialect in ("onnx-14", "onnx-15"):
        fields = [array.name for array in row_of(dialect).arrays.known]
        layers.append(files.NormLayer(dialect, dialect, dict.fromkeys(fields, ones)))
    path = tmp_path / "m.onnx"
    with pytest.raises(FileError, match=r"^m\.onnx cannot hold layers of onnx-14 and onnx-15\. "):
        files.write(path, files.ModelFile(path, "onnx", tuple(layers)))

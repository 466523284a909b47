"""Norms of ONNX graphs are folded into the layer before: what is computed, and what is left."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from backnorm.convert import files
from backnorm.errors import FileError

if TYPE_CHECKING:
    from pathlib import Path

onnx = pytest.importorskip("onnx", reason="onnx is not installed; make test has it")
reference = pytest.importorskip("onnx.reference", reason="onnx is old; make test has a newer one")

from onnx import helper, numpy_helper  # noqa: E402 - onnx may be missing

RNG = np.random.default_rng(16)
C = 4
IMAGE = (2, 6, 5, 5)


def values(*shape: int) -> np.ndarray:
    """Random weights."""
    return RNG.normal(size=shape).astype(np.float32)


def node(kind: str, inputs: str, output: str, **attributes: Any) -> Any:
    """A node that is named after its output."""
    return helper.make_node(kind, inputs.split(), [output], name=f"n_{output}", **attributes)


def norm(x: str, y: str, parameters: str = "s B m v", **attributes: Any) -> Any:
    """A batch normalization."""
    return node("BatchNormalization", f"{x} {parameters}", y, **attributes)


def statistics(c: int = C) -> dict[str, np.ndarray]:
    """The parameters of a norm."""
    variance = RNG.uniform(0.5, 2.0, c).astype(np.float32)
    return {"s": values(c), "B": values(c), "m": values(c), "v": variance}


def saved(  # noqa: PLR0917 - the parts of a graph
    path: Path,
    nodes: list[Any],
    arrays: dict[str, np.ndarray],
    shape: tuple[int, ...] = IMAGE,
    outputs: str = "y",
    ir: int = 8,
) -> Path:
    """Save a graph that reads x."""
    x = helper.make_tensor_value_info("x", 1, shape)
    ys = [helper.make_tensor_value_info(name, 1, [None] * len(shape)) for name in outputs.split()]
    tensors = [numpy_helper.from_array(array, name) for name, array in arrays.items()]
    own = [helper.make_tensor_value_info(t.name, t.data_type, t.dims) for t in tensors]
    graph = helper.make_graph(nodes, "g", [x, *(own if ir < 4 else [])], ys, tensors)
    opsets = [helper.make_opsetid("", 15)]  # onnx evaluates older norms with batch statistics
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=ir), path)
    return path


def computed(path: Path, shape: tuple[int, ...] = IMAGE) -> list[np.ndarray]:
    """Run a model by onnx's reference, in float64."""
    model = onnx.load(path)
    for tensor in model.graph.initializer:
        if tensor.data_type == 1:
            wide = numpy_helper.to_array(tensor).astype(np.float64)
            tensor.CopyFrom(numpy_helper.from_array(wide, tensor.name))
    x = np.random.default_rng(0).normal(size=shape)
    result: list[np.ndarray] = reference.ReferenceEvaluator(model).run(None, {"x": x})
    return result


def folded(path: Path) -> tuple[Path, tuple[files.LayerFold, ...]]:
    """Fold a file, and write and check the result beside it."""
    model, folds = files.fold_model(files.read(path), path.with_name("folded.onnx"))
    files.write(path.with_name("folded.onnx"), model)
    onnx.checker.check_model(onnx.load(path.with_name("folded.onnx")), full_check=True)
    return path.with_name("folded.onnx"), folds


def kinds(path: Path) -> list[str]:
    """The operators of a file."""
    return [node.op_type for node in onnx.load(path).graph.node]


ROW = (3, 6)

FOLDABLE: dict[str, tuple[list[Any], dict[str, np.ndarray], tuple[int, ...]]] = {
    "conv": ([node("Conv", "x W", "z", pads=[1] * 4)], {"W": values(C, 6, 3, 3)}, IMAGE),
    "conv with bias": (
        [node("Conv", "x W b", "z")],
        {"W": values(C, 6, 3, 3), "b": values(C)},
        IMAGE,
    ),
    "groups": ([node("Conv", "x W", "z", group=2)], {"W": values(C, 3, 3, 3)}, IMAGE),
    "depthwise": ([node("Conv", "x W", "z", group=6)], {"W": values(6, 1, 3, 3)}, IMAGE),
    "1-D": ([node("Conv", "x W", "z")], {"W": values(C, 6, 3)}, (2, 6, 5)),
    "transposed": (
        [node("ConvTranspose", "x W b", "z", strides=[2, 2])],
        {"W": values(6, C, 3, 3), "b": values(C)},
        IMAGE,
    ),
    "conv and Add": (
        [node("Conv", "x W b", "t"), node("Add", "a t", "z")],
        {"W": values(C, 6, 3, 3), "b": values(C), "a": values(C, 1, 1)},
        IMAGE,
    ),
    "Add of a scalar": (
        [node("Conv", "x W", "t"), node("Add", "t a", "z")],
        {"W": values(C, 6, 3, 3), "a": values()},
        IMAGE,
    ),
    "Gemm": (
        [node("Gemm", "x W b", "z", alpha=0.5, beta=3.0)],
        {"W": values(6, C), "b": values(1, C)},
        ROW,
    ),
    "Gemm transposed": (
        [node("Gemm", "x W b", "z", transB=1, beta=0.5)],
        {"W": values(C, 6), "b": values()},
        ROW,
    ),
    "Gemm and Add": (
        [node("Gemm", "x W b", "t", beta=3.0), node("Add", "t a", "z")],
        {"W": values(6, C), "b": values(C), "a": values(C)},
        ROW,
    ),
    "MatMul": ([node("MatMul", "x W", "z")], {"W": values(6, C)}, ROW),
    "MatMul of a transposed matrix": (
        [node("Transpose", "W", "u", perm=[1, 0]), node("MatMul", "x u", "z")],
        {"W": values(C, 6)},
        ROW,
    ),
    "MatMul of a transposed matrix and Add": (
        [node("Transpose", "W", "u"), node("MatMul", "x u", "t"), node("Add", "t a", "z")],
        {"W": values(C, 6), "a": values(C)},
        ROW,
    ),
    "MatMul and Add": (
        [node("MatMul", "x W", "t"), node("Add", "t a", "z")],
        {"W": values(6, C), "a": values(1, C)},
        ROW,
    ),
}


@pytest.mark.parametrize("ir", [3, 8])
@pytest.mark.parametrize("name", FOLDABLE)
def test_a_folded_graph_computes_the_same(name: str, ir: int, tmp_path: Path) -> None:
    """The norm is gone with its parameters, and what reads it reads the layer before."""
    nodes, arrays, shape = FOLDABLE[name]
    c = 6 if name == "depthwise" else C
    nodes = [*nodes, norm("z", "n", epsilon=0.25), node("Relu", "n", "y")]
    path = saved(tmp_path / "a.onnx", nodes, {**arrays, **statistics(c)}, shape, ir=ir)
    after, folds = folded(path)
    linear = next(one.name for one in nodes if one.op_type != "Transpose")
    assert [(fold.name, fold.into) for fold in folds] == [("n_n", linear)]
    assert "Transpose" not in kinds(after)
    assert "BatchNormalization" not in kinds(after)
    left = {tensor.name for tensor in onnx.load(after).graph.initializer}
    assert not left & set("sBmv")
    (y,), (wanted,) = computed(after, shape), computed(path, shape)
    # float32 weights were rounded once, the sum over at most 54 of them in float64
    size = np.abs(wanted).max()
    assert np.abs(y - wanted).max() < 2.0**-22 * size
    assert np.abs(y).max() > 0


def test_two_norms_in_a_row_and_two_layers(tmp_path: Path) -> None:
    """Each is folded into the layer before, also a norm whose output is the network's."""
    other = {f"{key}2": array for key, array in statistics().items()}
    nodes = [
        node("Conv", "x W", "a"),
        norm("a", "b"),
        norm("b", "c", "s2 B2 m2 v2"),
        node("Conv", "c V", "d"),
        norm("d", "y", "s2 B2 m2 v2"),
    ]
    arrays = {**statistics(), **other, "W": values(C, 6, 3, 3), "V": values(C, C, 1, 1)}
    path = saved(tmp_path / "a.onnx", nodes, arrays)
    after, folds = folded(path)
    assert [fold.into for fold in folds] == ["n_a", "n_a", "n_d"]
    assert kinds(after) == ["Conv", "Conv"]
    (y,), (wanted,) = computed(after), computed(path)
    assert np.abs(y - wanted).max() < 2.0**-21 * np.abs(wanted).max()


def test_stored_behind_constant_and_identity_nodes(tmp_path: Path) -> None:
    """Weights may be Constant nodes, and a bias that others read stays as it was for them."""
    weights = numpy_helper.from_array(values(C, 6, 3, 3))
    nodes = [
        helper.make_node("Constant", [], ["W"], value=weights),
        node("Identity", "W", "W2"),
        node("Identity", "m", "mm"),
        node("Conv", "x W2 B", "z"),
        norm("z", "y", "s B mm v"),
        node("Conv", "x V B", "y2"),
    ]
    arrays = {**statistics(), "V": values(C, 6, 1, 1)}
    path = saved(tmp_path / "a.onnx", nodes, arrays, outputs="y y2")
    after, _ = folded(path)
    assert kinds(after) == ["Conv", "Conv"]
    for y, wanted in zip(computed(after), computed(path), strict=True):
        assert np.abs(y - wanted).max() < 2.0**-22 * np.abs(wanted).max()


TRUE = helper.make_tensor("", onnx.TensorProto.BOOL, [], [True])

W4 = {"W": values(C, 6, 3, 3), "V": values(C, 6, 1, 1)}
PLAIN = node("Conv", "x W", "z")
RELU = node("Relu", "z", "r")

LEFT: dict[str, tuple[list[Any], dict[str, np.ndarray], str, str]] = {
    "the input": (
        [norm("x", "y", "m6 m6 m6 v6")],
        {"m6": values(6), "v6": np.ones(6, np.float32)},
        "y",
        "reads an input",
    ),
    "an activation": ([PLAIN, RELU, norm("r", "y")], W4, "y", "Relu stands before it"),
    "a convolution after it": (
        [norm("x", "n", "m6 m6 m6 v6"), node("Conv", "n W", "y", pads=[1] * 4)],
        {**W4, "m6": values(6), "v6": np.ones(6, np.float32)},
        "y",
        "reads an input",
    ),
    "another reader": ([PLAIN, RELU, norm("z", "y")], W4, "r y", "n_z is read by n_r too"),
    "a reader inside": (
        [
            PLAIN,
            norm("z", "y"),
            node("Constant", "", "t", value=TRUE),
            helper.make_node(
                "If",
                ["t"],
                ["i"],
                then_branch=helper.make_graph(
                    [node("Relu", "z", "o")], "a", [], [helper.make_tensor_value_info("o", 1, None)]
                ),
                else_branch=helper.make_graph(
                    [node("Neg", "z", "o")], "b", [], [helper.make_tensor_value_info("o", 1, None)]
                ),
            ),
        ],
        W4,
        "y i",
        "n_z is read by others too",
    ),
    "an output": ([PLAIN, norm("z", "y")], W4, "z y", "n_z is an output of the network too"),
    "shared weights": (
        [PLAIN, node("Conv", "x W", "u"), norm("z", "y")],
        W4,
        "y u",
        "the weights of n_z are shared with n_u",
    ),
    "computed weights": (
        [node("Neg", "W", "w"), node("Conv", "x w", "z"), norm("z", "y")],
        W4,
        "y",
        "the network computes the weights of n_z",
    ),
    "computed bias": (
        [node("Neg", "m", "w"), node("Conv", "x W w", "z"), norm("z", "y")],
        W4,
        "y",
        "the network computes the bias of n_z",
    ),
    "a bias for each place": (
        [PLAIN, node("Add", "z a", "t"), norm("t", "y")],
        {**W4, "a": values(C, 3, 3)},
        "y",
        "n_t are not known to lie on axis 1",
    ),
    "not finite": (
        [PLAIN, norm("z", "y", "s B m zero", epsilon=0.0)],
        {**W4, "zero": np.zeros(C, np.float32)},
        "y",
        "the folded weights of n_z would not be finite in float32",
    ),
    "too large": (
        [PLAIN, norm("z", "y", "large B m v")],
        {**W4, "large": np.full(C, 3e38, np.float32)},
        "y",
        "the folded weights of n_z would not be finite in float32",
    ),
}


@pytest.mark.parametrize("name", LEFT)
def test_what_cannot_be_folded_is_left_and_named(name: str, tmp_path: Path) -> None:
    """The other norm is folded, and the network computes the same."""
    nodes, arrays, outputs, why = LEFT[name]
    nodes = [*nodes, node("Conv", "x V", "z2"), norm("z2", "y3")]
    path = saved(
        tmp_path / "a.onnx",
        nodes,
        {**statistics(), **arrays, "V": W4["V"]},
        outputs=f"{outputs} y3",
    )
    model, folds = files.fold_model(files.read(path), tmp_path / "b.onnx")
    assert [fold.into for fold in folds] == ["", "n_z2"]
    assert why in folds[0].why_left
    files.write(tmp_path / "b.onnx", model)
    assert kinds(tmp_path / "b.onnx").count("BatchNormalization") == 1
    if "finite" not in why:
        for y, wanted in zip(computed(tmp_path / "b.onnx"), computed(path), strict=True):
            assert np.abs(y - wanted).max() <= 2.0**-22 * np.abs(wanted).max()


def test_a_product_of_more_axes_is_left(tmp_path: Path) -> None:
    """MatMul puts its channels on the last axis, a norm reads axis 1."""
    nodes = [node("MatMul", "x W", "z"), norm("z", "y")]
    arrays = {**statistics(), "W": values(6, C)}
    path = saved(tmp_path / "a.onnx", nodes, arrays, (2, C, 6))
    with pytest.raises(FileError, match=r"The norm of a\.onnx .* n_z are not known to"):
        files.fold_model(files.read(path), tmp_path / "b.onnx")


DAMAGED = {
    "a convolution without weights": [node("Conv", "x", "z"), norm("z", "y")],
    "an Add of one array": [node("Conv", "x W", "t"), node("Add", "B", "z"), norm("z", "y")],
    "a norm without output": [
        node("Conv", "x W", "y"),
        helper.make_node("BatchNormalization", ["y", *"sBmv"], [], name="n"),
    ],
}


@pytest.mark.parametrize("name", DAMAGED)
def test_damaged_graphs_are_left(name: str, tmp_path: Path) -> None:
    """With an error of ours."""
    path = saved(tmp_path / "a.onnx", DAMAGED[name], {**statistics(), "W": W4["W"]})
    with pytest.raises(FileError, match=r"The norm of a\.onnx cannot be folded"):
        files.fold_model(files.read(path), tmp_path / "b.onnx")


def test_a_folded_graph_says_so(tmp_path: Path) -> None:
    """Folding twice is not the error of a file without batch norm."""
    nodes = [node("Conv", "x W", "z"), norm("z", "y")]
    path = saved(tmp_path / "a.onnx", nodes, {"W": values(C, 6, 3, 3), **statistics()})
    after, _ = folded(path)
    with pytest.raises(FileError, match=r"no normalization layer left to fold \(F06 .*1\), and no"):
        files.fold_model(files.read(after), tmp_path / "b.onnx")


def test_a_model_that_holds_layers_alone_is_refused(tmp_path: Path) -> None:
    """It was not read from a graph."""
    state = dict(zip(("scale", "B", "input_mean", "input_var"), statistics().values(), strict=True))
    model = files.ModelFile(tmp_path / "a.onnx", "onnx", (files.NormLayer("n", "onnx-15", state),))
    with pytest.raises(FileError, match=r"a\.onnx has no network, so its norms cannot be folded"):
        files.fold_model(model, tmp_path / "b.onnx")

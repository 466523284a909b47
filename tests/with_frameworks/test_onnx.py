"""The dialects onnx-9, -14 and -15 beside onnx's own evaluator and its backend node tests."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason="onnx is not installed; make test-frameworks has it")

from onnx import TensorProto, helper, numpy_helper  # noqa: E402
from onnx.backend.test.case.node import collect_testcases  # noqa: E402
from onnx.reference import ReferenceEvaluator  # noqa: E402

import backnorm as bn  # noqa: E402
from backnorm.dialects import DIALECTS, row_of  # noqa: E402
from backnorm.testing.budget import FRAMEWORK_PARTS, parts  # noqa: E402

C = 5
OPSETS = {name: int(name.removeprefix("onnx-")) for name in DIALECTS if name.startswith("onnx-")}
NAMES = {name: [array.name for array in row_of(name).arrays.known] for name in OPSETS}
SHAPES = [(16, C), (3, C, 4, 5), (2, C, 3, 2, 4)]


def node_tests() -> list[Any]:
    """The node tests of BatchNormalization that come with onnx; those of others warn on the way."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        cases = collect_testcases("BatchNormalization")
    return [case for case in cases if "batchnorm" in case.name]


def evaluator(dialect: str, dtype: str, *, training: bool, **attributes: float) -> Any:
    """A model of one node."""
    kind = TensorProto.FLOAT if dtype == "float32" else TensorProto.DOUBLE
    inputs = ["X", "S", "B", "M", "V"]
    outputs = ["Y", "RM", "RV"] if training else ["Y"]
    if training:
        attributes["training_mode"] = 1
    node = helper.make_node("BatchNormalization", inputs, outputs, **attributes)
    graph = helper.make_graph(
        [node],
        "one",
        [helper.make_tensor_value_info(name, kind, None) for name in inputs],
        [helper.make_tensor_value_info(name, kind, None) for name in outputs],
    )
    opset = [helper.make_opsetid("", OPSETS[dialect])]
    return ReferenceEvaluator(helper.make_model(graph, opset_imports=opset))


def start(dialect: str, dtype: str) -> dict[str, Any]:
    """A state to start from."""
    rng = np.random.default_rng(1)
    return {name: rng.uniform(0.5, 2, C).astype(dtype) for name in NAMES[dialect]}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("attributes", [{}, {"epsilon": 1e-2, "momentum": 0.75}])
@pytest.mark.parametrize("dialect", ["onnx-14", "onnx-15"])
def test_three_steps_are_those_of_the_evaluator(
    dialect: str, attributes: dict[str, float], shape: tuple[int, ...], dtype: str
) -> None:
    """Three with training_mode=1, their outputs fed back, then one in inference."""
    state = start(dialect, dtype)
    layer = bn.BatchNorm(C, dialect=dialect, **attributes).load_state(state)
    scale, b, mean, var = state.values()
    rng = np.random.default_rng(0)
    limit = FRAMEWORK_PARTS[dtype]
    for _ in range(3):
        x = rng.normal(0.5, 1.5, shape).astype(dtype)
        feeds = {"X": x, "S": scale, "B": b, "M": mean, "V": var}
        y, mean, var = evaluator(dialect, dtype, training=True, **attributes).run(None, feeds)
        assert parts(layer.forward(x), y) <= limit
        assert parts(layer.state()["input_mean"], mean) <= limit
        assert parts(layer.state()["input_var"], var) <= limit
    feeds = {"X": x, "S": scale, "B": b, "M": mean, "V": var}
    (y,) = evaluator(dialect, dtype, training=False, **attributes).run(None, feeds)
    assert parts(layer.eval().forward(x), y) <= limit


@pytest.mark.parametrize("case", node_tests(), ids=lambda case: case.name)
def test_the_backend_node_tests_of_onnx_pass(case: Any) -> None:
    """Their inputs through the layer, every output as they have it."""
    (node,) = case.model.graph.node
    attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    training = attributes.pop("training_mode", 0)
    for inputs, outputs in case.data_sets:
        x, *arrays = (to_array(value) for value in inputs)
        layer = bn.BatchNorm(x.shape[1], dialect="onnx-15", **attributes)
        layer.load_state(dict(zip(NAMES["onnx-15"], arrays, strict=True)))
        y = (layer.train() if training else layer.eval()).forward(x)
        state = layer.state()
        got = (y, state["input_mean"], state["input_var"])
        assert len(outputs) == (3 if training else 1)
        for ours, theirs in zip(got, outputs, strict=False):
            assert parts(ours, to_array(theirs)) <= FRAMEWORK_PARTS["float32"]


def to_array(value: Any) -> Any:
    """A tensor of a test, whichever way it is kept."""
    return numpy_helper.to_array(value) if isinstance(value, TensorProto) else np.asarray(value)


def test_the_backend_node_tests_are_there() -> None:
    """Two in inference, two in training."""
    assert len(node_tests()) == 4


@pytest.mark.parametrize("shape", SHAPES)
def test_opset_9_is_the_formula_in_inference(shape: tuple[int, ...]) -> None:
    """The evaluator of opset 9 blends statistics even here, unless momentum is None: by opset 14.

    What differs between the opsets is training; in inference 9 and 14 are one formula.
    """
    state = start("onnx-9", "float32")
    x = np.random.default_rng(0).normal(size=shape).astype("f4")
    feeds = dict(zip(("X", "S", "B", "M", "V"), (x, *state.values()), strict=True))
    (y,) = evaluator("onnx-14", "float32", training=False).run(None, feeds)
    layer = bn.BatchNorm(C, dialect="onnx-9").load_state(state).eval()
    assert parts(layer.forward(x), y) <= FRAMEWORK_PARTS["float32"]


def test_a_converted_state_gives_the_same_in_onnx() -> None:
    """PyTorch's dialect, converted and run by the evaluator."""
    rng = np.random.default_rng(4)
    layer = bn.BatchNorm(C, dialect="torch")
    for _ in range(3):
        layer.forward(rng.normal(1, 2, (8, C)).astype("f4"))
    done = bn.convert_state(layer.state(), "torch", "onnx-15", n=8)
    x = rng.normal(size=(6, C)).astype("f4")
    feeds = dict(zip(("X", "S", "B", "M", "V"), (x, *done.state.values()), strict=True))
    (y,) = evaluator("onnx-15", "float32", training=False, **done.options).run(None, feeds)
    assert parts(layer.eval().forward(x), y) <= FRAMEWORK_PARTS["float32"]

"""The dialects onnx-9, -14 and -15 beside onnx's own evaluator, its node tests and onnxruntime."""

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


def model_of(dialect: str, dtype: str, *, training: bool, **attributes: float) -> Any:
    """A model of one node; opset 9 has no training_mode, and two outputs more in training."""
    kind = TensorProto.FLOAT if dtype == "float32" else TensorProto.DOUBLE
    inputs = ["X", "S", "B", "M", "V"]
    outputs = ["Y", "RM", "RV"] if training else ["Y"]
    if training and OPSETS[dialect] == 9:
        outputs += ["SM", "SV"]
    elif training:
        attributes["training_mode"] = 1
    node = helper.make_node("BatchNormalization", inputs, outputs, **attributes)
    graph = helper.make_graph(
        [node],
        "one",
        [helper.make_tensor_value_info(name, kind, None) for name in inputs],
        [helper.make_tensor_value_info(name, kind, None) for name in outputs],
    )
    opset = [helper.make_opsetid("", OPSETS[dialect])]
    return helper.make_model(graph, opset_imports=opset, ir_version=8)


def evaluator(dialect: str, dtype: str, *, training: bool, **attributes: float) -> Any:
    """Onnx's own evaluator of the model."""
    return ReferenceEvaluator(model_of(dialect, dtype, training=training, **attributes))


def session(dialect: str, dtype: str, *, training: bool, **attributes: float) -> Any:
    """The model in onnxruntime, on the CPU."""
    model = model_of(dialect, dtype, training=training, **attributes).SerializeToString()
    runtime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    return runtime.InferenceSession(model, providers=["CPUExecutionProvider"])


RUN_BY = [
    ("onnx-9", session),
    *((n, by) for n in OPSETS if n != "onnx-9" for by in (evaluator, session)),
]
"""The opsets, and what runs them: in training the evaluator has no opset 9."""


def start(dialect: str, dtype: str) -> dict[str, Any]:
    """A state to start from."""
    rng = np.random.default_rng(1)
    return {name: rng.uniform(0.5, 2, C).astype(dtype) for name in NAMES[dialect]}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("attributes", [{}, {"epsilon": 1e-2, "momentum": 0.75}])
@pytest.mark.parametrize(("dialect", "run_by"), RUN_BY)
def test_three_steps_are_those_of_the_evaluator_and_of_onnxruntime(
    dialect: str, run_by: Any, attributes: dict[str, float], shape: tuple[int, ...], dtype: str
) -> None:
    """Three in training, their outputs fed back, then one in inference."""
    state = start(dialect, dtype)
    layer = bn.BatchNorm(C, dialect=dialect, **attributes).load_state(state)
    scale, b, mean, var = state.values()
    rng = np.random.default_rng(0)
    limit = FRAMEWORK_PARTS[dtype]
    for _ in range(3):
        x = rng.normal(0.5, 1.5, shape).astype(dtype)
        feeds = {"X": x, "S": scale, "B": b, "M": mean, "V": var}
        y, mean, var, *_ = run_by(dialect, dtype, training=True, **attributes).run(None, feeds)
        assert parts(layer.forward(x), y) <= limit
        assert parts(layer.state()[NAMES[dialect][2]], mean) <= limit
        assert parts(layer.state()[NAMES[dialect][3]], var) <= limit
    feeds = {"X": x, "S": scale, "B": b, "M": mean, "V": var}
    (y,) = run_by(dialect, dtype, training=False, **attributes).run(None, feeds)
    assert parts(layer.eval().forward(x), y) <= limit


def test_onnxruntime_is_of_the_version_that_the_rows_name() -> None:
    """And so is onnx, whose evaluator ran."""
    runtime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    assert f"onnxruntime {runtime.__version__} ran on the CPU" in row_of("onnx-9").source
    assert f"onnxruntime {runtime.__version__} ran on the CPU" in row_of("onnx-14").source
    assert f"onnx {onnx.__version__}" in row_of("onnx-14").source


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

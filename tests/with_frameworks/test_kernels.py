"""The layouts of kernels beside the frameworks: one kernel, in each one's order, one output."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed; make test-frameworks has it")
os.environ["KERAS_BACKEND"] = "torch"
keras = pytest.importorskip("keras", reason="Keras is not installed; make test-frameworks has it")
jax = pytest.importorskip("jax", reason="JAX is not installed; make test-frameworks has it")
nn = pytest.importorskip("flax.linen", reason="Flax is not installed; make test-frameworks has it")
onnx = pytest.importorskip("onnx", reason="onnx is not installed; make test-frameworks has it")

from onnx import helper  # noqa: E402
from onnx.reference import ReferenceEvaluator  # noqa: E402

from backnorm.convert.files.naming._layouts import LAYOUTS, relaid  # noqa: E402
from backnorm.testing.budget import FILE_OUTPUT, parts  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.filterwarnings(
    "ignore:__array__ implementation doesn't accept a copy keyword"  # of Keras's variables
)

RNG = np.random.default_rng(16)
KINDS = ("conv", "depthwise", "transposed", "dense")
I, M, O, K = 3, 2, 4, (3, 2, 2)  # noqa: E741 - channels in, multiplier, channels out, lengths
MAP = (4, 5, 6)


def kernel(kind: str, dimensions: int) -> np.ndarray:
    """A kernel in PyTorch's layout; a dense layer reads a flattened map."""
    shape = {
        "conv": (O, I, *K[:dimensions]),
        "depthwise": (I * M, 1, *K[:dimensions]),
        "transposed": (I, O, *K[:dimensions]),
        "dense": (O, I * int(np.prod(MAP[:dimensions]))),
    }
    return RNG.normal(size=shape[kind]).astype(np.float32)


def by_torch(kind: str, x: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """The output with channels on axis 1."""
    dimensions = x.ndim - 2
    functional = torch.nn.functional
    images, w = torch.from_numpy(x), torch.from_numpy(weight)
    if kind == "dense":
        return functional.linear(images.flatten(1), w).numpy()
    if kind == "transposed":
        call = getattr(functional, f"conv_transpose{dimensions}d")
        return call(images, w, stride=2).numpy()
    call = getattr(functional, f"conv{dimensions}d")
    return call(images, w, groups=I if kind == "depthwise" else 1).numpy()


def by_keras(kind: str, x: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """The same, by layers that take channels last."""
    dimensions = x.ndim - 2
    options = {"use_bias": False}
    layers = keras.layers
    size = K[:dimensions]
    layer = {
        "conv": lambda: getattr(layers, f"Conv{dimensions}D")(O, size, **options),
        "depthwise": lambda: getattr(layers, f"DepthwiseConv{dimensions}D")(
            size, depth_multiplier=M, **options
        ),
        "transposed": lambda: getattr(layers, f"Conv{dimensions}DTranspose")(
            O, size, strides=2, **options
        ),
        "dense": lambda: layers.Dense(O, **options),
    }[kind]()
    images = np.moveaxis(x, 1, -1)
    images = np.asarray(layers.Flatten()(images)) if kind == "dense" else images
    layer.build(images.shape)
    layer.set_weights([weight])
    y = keras.ops.convert_to_numpy(layer(images))
    return np.moveaxis(y, -1, 1)


def by_flax(kind: str, x: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """The same, by linen's modules."""
    size = K[: x.ndim - 2]
    groups = {"feature_group_count": I} if kind == "depthwise" else {}
    images = np.moveaxis(x, 1, -1)
    if kind == "dense":
        module, images = nn.Dense(O, use_bias=False), images.reshape(len(x), -1)
    elif kind == "transposed":
        strides = (2,) * len(size)
        module = nn.ConvTranspose(O, size, strides=strides, padding="VALID", use_bias=False)
    else:
        features = weight.shape[-1]
        module = nn.Conv(features, size, padding="VALID", use_bias=False, **groups)
    y = module.apply({"params": {"kernel": weight}}, images)
    return np.moveaxis(np.asarray(y), -1, 1)


def by_onnx(kind: str, x: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """The same, by onnx's own evaluator."""
    if kind == "dense":
        nodes = [
            helper.make_node("Flatten", ["x"], ["f"]),
            helper.make_node("Gemm", ["f", "w"], ["y"], transB=1),
        ]
    elif kind == "transposed":
        nodes = [helper.make_node("ConvTranspose", ["x", "w"], ["y"], strides=[2] * (x.ndim - 2))]
    else:
        group = I if kind == "depthwise" else 1
        nodes = [helper.make_node("Conv", ["x", "w"], ["y"], group=group)]
    values = [helper.make_tensor_value_info(name, 1, None) for name in ("x", "w")]
    graph = helper.make_graph(nodes, "g", values, [helper.make_tensor_value_info("y", 1, None)])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    (y,) = ReferenceEvaluator(model).run(None, {"x": x, "w": weight})
    return np.asarray(y)


RUNS: dict[str, Callable[[str, np.ndarray, np.ndarray], Any]] = {
    "keras": by_keras,
    "flax": by_flax,
    "onnx": by_onnx,
}


@pytest.mark.parametrize("family", RUNS)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dimensions", [1, 2, 3])
def test_a_kernel_computes_the_same_in_each_layout(family: str, kind: str, dimensions: int) -> None:
    """Of PyTorch's kernel, in the order of each framework; and back it is the same array."""
    if (family, kind, dimensions) == ("keras", "depthwise", 3):
        assert not hasattr(keras.layers, "DepthwiseConv3D")
        return
    weight = kernel(kind, dimensions)
    x = RNG.normal(size=(2, I, *MAP[:dimensions])).astype(np.float32)
    before, after = LAYOUTS["torch"][kind], LAYOUTS[family][kind]
    moved = relaid(weight, before, after, I)
    assert parts(RUNS[family](kind, x, moved), by_torch(kind, x, weight)) <= FILE_OUTPUT
    np.testing.assert_array_equal(relaid(moved, after, before, I), weight, strict=True)

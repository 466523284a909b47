"""What each format tells of kernels, and what becomes of them in another framework."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from backnorm.convert import files
from backnorm.convert.files.caffe._kernels import kernels_of as caffe_kernels
from backnorm.convert.files.caffe._net import layers_of_prototxt
from backnorm.convert.files.caffe._wire import encode
from backnorm.convert.files.keras._config import entries_of
from backnorm.convert.files.keras._kernels import by_class, by_config
from backnorm.convert.files.mxnet._kernels import kernels_of
from backnorm.errors import KernelError
from files import models
from files.test_caffe import blob, layer, norm, read
from files.test_keras import entry

if TYPE_CHECKING:
    from pathlib import Path

C = 3


def arrays(**shapes: tuple[int, ...]) -> dict[str, np.ndarray]:
    """Arrays of different values, with / for __ in their names."""
    return {
        name.replace("__", "/"): np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
        for name, shape in shapes.items()
    }


def sequential(*layers: dict[str, Any]) -> list[Any]:
    """All layers of a network of Keras."""
    return list(entries_of("m.keras", entry("Sequential", "s", layers=list(layers))))


CONV = entry("Conv2D", "c", filters=2)
FLATTEN = entry("Flatten", "f")
DENSE = entry("Dense", "d", units=5)
IMAGES = entry("InputLayer", "i", batch_shape=[None, 6, 6, 1])

FLATTENED = {
    "a convolution": ((IMAGES, CONV, FLATTEN, DENSE), 2),
    "a pool and a norm": (
        (
            IMAGES,
            CONV,
            entry("BatchNormalization", "n"),
            entry("MaxPooling2D", "p"),
            FLATTEN,
            DENSE,
        ),
        2,
    ),
    "an activation behind": ((IMAGES, CONV, FLATTEN, entry("Dropout", "o"), DENSE), 2),
    "the images": ((IMAGES, FLATTEN, DENSE), 1),
    "no map": ((IMAGES, CONV, entry("GlobalAveragePooling2D", "g"), DENSE), 32),
    "another dense layer": ((IMAGES, entry("Dense", "e", units=32), DENSE), 32),
    "another one and a norm": (
        (IMAGES, entry("Dense", "e", units=32), entry("BatchNormalization", "n"), DENSE),
        32,
    ),
    "features": ((entry("InputLayer", "i", batch_shape=[None, 32]), DENSE), 32),
    "a norm behind": ((IMAGES, CONV, FLATTEN, entry("BatchNormalization", "n"), DENSE), None),
    "no channels": (
        (entry("InputLayer", "i", batch_shape=[None, 8, 4]), FLATTEN, DENSE),
        None,
    ),
    "an unknown layer": ((IMAGES, CONV, entry("Lambda", "l"), FLATTEN, DENSE), None),
    "channels first": (
        (IMAGES, entry("Conv2D", "c", filters=2, data_format="channels_first"), FLATTEN, DENSE),
        None,
    ),
    "a network": (
        (entry("Sequential", "s", layers=[IMAGES, CONV]), FLATTEN, DENSE),
        2,
    ),
}


@pytest.mark.parametrize("name", FLATTENED)
def test_keras_tells_what_was_flattened(name: str) -> None:
    """The channels of the map that a dense layer's rows are of; none if that is not certain."""
    layers, channels = FLATTENED[name]
    kernels = by_config(sequential(*layers), {"d/kernel": (32, 5)})
    assert [(kernel.name, kernel.channels) for kernel in kernels] == [("d", channels)]


def test_keras_tells_branches() -> None:
    """Joined channels add up; other axes, and a layer that is called twice, tell nothing."""
    nodes = {"i": [], "a": ["i"], "b": ["i"], "j": ["a", "b"], "f": ["j"], "d": ["f"]}
    kinds = {"i": IMAGES, "a": CONV, "b": CONV, "j": entry("Concatenate", "j"), "f": FLATTEN}

    def network(calls: int, axis: int) -> list[Any]:
        kinds["j"]["config"]["axis"] = axis
        layers = []
        for name, inputs in nodes.items():
            call = [[source, 0, 0, {}] for source in inputs]
            kind = kinds.get(name, DENSE)
            renamed = {**kind, "config": {**kind["config"], "name": name}}
            layers.append({**renamed, "inbound_nodes": [call] * calls if inputs else []})
        return list(entries_of("m.keras", entry("Functional", "m", layers=layers)))

    for calls, axis, channels in ((1, -1, 4), (1, 3, 4), (1, 1, None), (2, -1, None)):
        (kernel,) = by_config(network(calls, axis), {"d/kernel": (32, 5)})
        assert kernel.channels == channels


def test_keras_tells_the_kinds() -> None:
    """By the classes: where the weights are numbered, and where they have names."""
    layers = (
        entry("SeparableConv2D", "s", filters=2),
        entry("DepthwiseConv2D", "w"),
        entry("Conv2DTranspose", "t", filters=2),
    )
    named = arrays(
        s__depthwise_kernel=(3, 3, 4, 2),
        s__pointwise_kernel=(1, 1, 8, 2),
        s__bias=(2,),
        w__depthwise_kernel=(3, 3, 4, 1),
        t__kernel=(2, 2, 2, 4),
    )
    kinds = [("depthwise", ""), ("conv", "s/bias"), ("depthwise", ""), ("transposed", "")]
    found = by_config(sequential(*layers), named)
    assert [(kernel.kind, kernel.bias) for kernel in found] == kinds
    groups = {"s": "separable_conv2d", "w": "depthwise_conv2d", "t": "conv2d_transpose"}
    count: dict[str, int] = {}
    numbered = {}
    for name, array in named.items():
        group = groups[name[0]]
        numbered[f"layers/{group}/vars/{count.get(group, 0)}"] = array
        count[group] = count.get(group, 0) + 1
    for kernels in (by_config(sequential(*layers), numbered), by_class(numbered)):
        assert [kernel.kind for kernel in kernels] == [kind for kind, _ in kinds]
        assert kernels[1].bias == "layers/separable_conv2d/vars/2"


NET = """
layer { name: "c" type: "Convolution" bottom: "a" top: "c" convolution_param { group: 4 } }
layer { name: "p" type: "Pooling" bottom: "c" top: "p" }
layer { name: "u" type: "Deconvolution" bottom: "p" top: "u" }
layer { name: "i" type: "InnerProduct" bottom: "u" top: "i"
        inner_product_param { transpose: true } }
layer { name: "r" type: "ReLU" bottom: "i" top: "i" }
layer { name: "j" type: "InnerProduct" bottom: "i" top: "j" }
"""


def test_caffe_tells_the_kinds() -> None:
    """And the channels of the map that an InnerProduct layer flattens."""
    shapes = {"c.0": (8, 1, 3, 3), "u.0": (8, 2, 2, 2), "i.0": (32, 5), "j.0": (1, 1, 7, 5)}
    there = {name: np.zeros(shape, np.float32) for name, shape in shapes.items()}
    found = caffe_kernels(layers_of_prototxt("m.prototxt", NET), there)
    assert [(kernel.kind, kernel.layout, kernel.channels) for kernel in found] == [
        ("depthwise", "(IM)1S", 4),
        ("transposed", "IOS", None),
        ("dense", "(IS)O", 2),
        ("dense", "11O(IS)", 5),
    ]


def test_old_caffe_files_become_pytorchs(tmp_path: Path) -> None:
    """An InnerProduct layer with four axes and its bias with four get two and one."""
    weight, bias = np.arange(6.0, dtype=np.float32), np.ones(2, np.float32)
    ip = layer("ip", "InnerProduct", "b", "c", wide(weight, 1, 1, 2, 3), wide(bias, 1, 1, 1, 2))
    model = read(tmp_path, norm("bn", "a", "b"), ip)
    converted, _ = files.convert_model(model, tmp_path / "o.npz", "torch", n=9)
    assert converted.others["ip.weight"].tolist() == weight.reshape(2, 3).tolist()
    assert converted.others["ip.bias"].tolist() == bias.tolist()


def test_old_caffe_files_tell_the_kinds(tmp_path: Path) -> None:
    """V1 layers have numbers for types, and other numbers for all fields."""
    convolution = encode(10, encode(5, 2))  # convolution_param, group
    bottom, top = encode(2, "a"), encode(3, "c")
    kernel = encode(6, wide(np.ones(8, np.float32), 4, 1, 1, 2))
    v1 = encode(2, bottom + top + encode(4, "conv") + b"\x28\x04" + kernel + convolution)
    ip = encode(6, wide(np.ones(12, np.float32), 1, 1, 1, 12))
    dense = encode(2, encode(2, "c") + encode(4, "ip") + b"\x28\x0e" + ip)
    model = read(tmp_path, v1, dense, norm("bn", "a", "b"))
    assert [(k.name, k.kind, k.channels, k.groups) for k in model.kernels] == [
        ("conv", "depthwise", 2, 2),
        ("ip", "dense", 4, None),
    ]


def wide(values: np.ndarray, *shape: int) -> bytes:
    """A blob with the shape in four numbers."""
    head = b"".join(bytes([index << 3, length]) for index, length in enumerate(shape, 1))
    data = blob(*values.tolist())
    return head + data[data.index(b"\x2a") : data.rindex(b"\x3a")]


def test_mxnet_tells_the_kinds() -> None:
    """By the operators, with the map that FullyConnected flattens."""
    names = ["data", "cw", "c", "p", "fw", "fb", "f", "gw", "g"]
    inputs = {"c": ["data", "cw"], "p": ["c"], "f": ["p", "fw", "fb"], "g": ["f", "gw"]}
    operators = {"c": "Convolution", "p": "Pooling", "f": "FullyConnected", "g": "FullyConnected"}
    nodes = [
        {
            "op": operators.get(name, "null"),
            "name": name,
            "attrs": {"num_group": "2"} if name == "c" else {},
            "inputs": [[names.index(source), 0, 0] for source in inputs.get(name, ())],
        }
        for name in names
    ]
    shapes = {"arg:cw": (4, 1, 3, 3), "arg:fw": (5, 64), "arg:fb": (5,), "arg:gw": (7, 5)}
    there = {name: np.zeros(shape, np.float32) for name, shape in shapes.items()}
    found = kernels_of(json.loads(json.dumps(nodes)), there)
    assert [(k.kind, k.weight, k.bias, k.channels) for k in found] == [
        ("depthwise", "arg:cw", "", 2),
        ("dense", "arg:fw", "arg:fb", 4),
        ("dense", "arg:gw", "", 5),
    ]


def test_onnx_tells_the_kinds(tmp_path: Path) -> None:
    """Conv, Gemm and a MatMul with an Add; a map that was flattened otherwise is not told."""
    models.need("onnx")
    from onnx import helper, numpy_helper, save  # noqa: PLC0415

    def network(*between: Any) -> Path:
        shapes = {"cw": (4, 1, 3, 3), "ts": (4, 4, 2, 2), "fw": (64, 5), "fb": (5,), "gw": (7, 5)}
        shapes["us"] = (4, 8, 2, 2)
        tensors = {name: np.ones(shape, np.float32) for name, shape in shapes.items()}
        tensors |= {name: np.ones(4, np.float32) for name in "sbmv"}
        nodes = [
            helper.make_node("Conv", ["x", "cw"], ["c"], group=2),
            helper.make_node("BatchNormalization", ["c", *"sbmv"], ["n"]),
            *between,
            helper.make_node("Flatten", [between[-1].output[0] if between else "n"], ["f"]),
            helper.make_node("MatMul", ["f", "fw"], ["p"]),
            helper.make_node("Add", ["fb", "p"], ["q"]),
            helper.make_node("Gemm", ["q", "gw"], ["y"], transB=1),
            helper.make_node("ConvTranspose", ["n", "ts"], ["z"]),
        ]
        values = [helper.make_tensor_value_info(name, 1, None) for name in "xyz"]
        graph = helper.make_graph(
            nodes,
            "g",
            values[:1],
            values[1:],
            [numpy_helper.from_array(array, name) for name, array in tensors.items()],
        )
        opset = helper.make_opsetid("", 17)
        save(helper.make_model(graph, opset_imports=[opset]), tmp_path / "m.onnx")
        return tmp_path / "m.onnx"

    found = files.read(network(helper.make_node("MaxPool", ["n"], ["o"]))).kernels
    assert [(k.kind, k.weight, k.layout, k.bias, k.channels) for k in found] == [
        ("depthwise", "cw", "(IM)1S", "", 2),
        ("dense", "fw", "(IS)O", "fb", 4),
        ("dense", "gw", "O(IS)", "", 5),
        ("transposed", "ts", "IOS", "", None),
    ]
    upward = helper.make_node("ConvTranspose", ["n", "us"], ["o"], group=2)
    dense = [k.channels for k in files.read(network(upward)).kernels if k.weight == "fw"]
    assert dense == [16]  # 8 for each group
    transpose = helper.make_node("Transpose", ["n"], ["o"], perm=[0, 2, 3, 1])
    model = files.read(network(transpose))
    with pytest.raises(KernelError, match=r"whether a map is flattened before fw \(64 inputs\)"):
        files.convert_model(model, tmp_path / "o.npz", "torch", n=9)
    model = files.read(network(transpose), settings=[("fw", "flatten", False)])
    converted, _ = files.convert_model(model, tmp_path / "o.npz", "torch", n=9)
    assert converted.others["fw.weight"].shape == (5, 64)


def flat(folder: Path, dialect: str, others: dict[str, np.ndarray]) -> files.ModelFile:
    """A file of named arrays with one layer of a framework."""
    fields = {"torch": ".running_{}", "keras": "/moving_{}"}[dialect]
    var = {"torch": "var", "keras": "variance"}[dialect]
    state = {f"bn{fields.format(name)}": np.ones(C, np.float32) for name in ("mean", var)}
    np.savez(folder / "m.npz", **state, **others)
    return files.read(folder / "m.npz")


def test_names_and_shapes_tell_kernels(tmp_path: Path) -> None:
    """A bias as long as the other axis is a transposed one's; without a bias it may be anything."""
    models.need("h5")
    shapes = {
        "conv.weight": (4, 2, 3, 3),
        "up.weight": (4, 2, 3, 3),
        "up.bias": (2,),
        "odd.weight": (4, 2, 3, 3),
        "odd.bias": (3,),
        "fc.weight": (2, 5),
        "fc.bias": (2,),
        "table.weight": (7, 5),
    }
    others = {name: np.zeros(shape, np.float32) for name, shape in shapes.items()}
    model = flat(tmp_path, "torch", others)
    assert {k.name: k.kind for k in model.kernels} == {
        "conv": "conv",
        "up": "transposed",
        "fc": "dense",
    }
    converted, _ = files.convert_model(model, tmp_path / "o.h5", "keras", n=9)
    assert {name: array.shape for name, array in converted.others.items()} == {
        "conv/kernel": (3, 3, 2, 4),
        "up/kernel": (3, 3, 2, 4),
        "up/bias": (2,),
        "odd.weight": (4, 2, 3, 3),
        "odd.bias": (3,),
        "fc/kernel": (5, 2),
        "fc/bias": (2,),
        "table.weight": (7, 5),
    }
    told = "\n".join(converted.notes)
    assert "conv/kernel: a convolution's kernel, taken as a convolution's by its name" in told
    assert "odd.weight, table.weight: the file does not tell what this is" in told


def test_names_of_keras_tell_kernels(tmp_path: Path) -> None:
    """One output channel may be a depthwise layer's, unless the name tells."""
    shapes = {
        "a/kernel": (3, 3, 2, 4),
        "conv2d/kernel": (3, 3, 2, 1),
        "doubtful/kernel": (3, 3, 2, 1),
        "depthwise_conv2d/kernel": (3, 3, 2, 1),
        "conv2d_transpose/kernel": (3, 3, 2, 4),
        "s/depthwise_kernel": (3, 3, 2, 1),
    }
    others = {name: np.zeros(shape, np.float32) for name, shape in shapes.items()}
    kinds = {kernel.name: kernel.kind for kernel in flat(tmp_path, "keras", others).kernels}
    assert kinds == {
        "a": "conv",
        "conv2d": "conv",
        "depthwise_conv2d": "depthwise",
        "conv2d_transpose": "transposed",
        "s": "depthwise",
    }


def test_a_flattened_map_is_put_into_the_other_order(tmp_path: Path) -> None:
    """Channels last in Keras, and first in PyTorch; and it is said."""
    kernel = files.LayerKernel("d", "dense", "d/kernel", "(SI)O", channels=2)
    rows = np.array([[10 * s + c] for s in range(3) for c in range(2)], np.float32)
    state = {name: np.ones(C, np.float32) for name in ("moving_mean", "moving_variance")}
    norms = (files.NormLayer("bn", "keras", state, {"scale": False, "center": False}),)
    model = files.ModelFile(tmp_path / "m.h5", "h5", norms, {"d/kernel": rows}, kernels=(kernel,))
    converted, _ = files.convert_model(model, tmp_path / "o.npz", "torch", n=9)
    assert converted.others["d.weight"].tolist() == [[0.0, 10.0, 20.0, 1.0, 11.0, 21.0]]
    assert converted.kernels[0].layout == "O(IS)"
    assert converted.notes[0].startswith("d.weight: its inputs are a flattened map, and were put")


def test_groups_of_a_transposed_convolution_are_left(tmp_path: Path) -> None:
    """Keras has none."""
    models.need("h5")
    kernel = files.LayerKernel("u", "transposed", "u.0", "IOS", groups=2)
    model = models.read("c046m.caffemodel")
    other = files.ModelFile(
        model.path, "caffemodel", model.layers, arrays(**{"u.0": (4, 2, 3, 3)}), kernels=(kernel,)
    )
    converted, _ = files.convert_model(other, tmp_path / "o.h5", "keras", n=9)
    assert converted.others["u.0"].shape == (4, 2, 3, 3)
    assert "u.0: a transposed convolution in groups" in converted.notes[0]


def test_a_kernel_of_another_shape_is_left(tmp_path: Path) -> None:
    """A file that says Dense of an array with three axes, or claims channels that do not divide."""
    models.need("h5")
    model = models.read("c046m.caffemodel")
    kernels = (
        files.LayerKernel("a", "dense", "a", "O(IS)"),
        files.LayerKernel("b", "dense", "b", "O(IS)", channels=4),
    )
    there = arrays(a=(2, 3, 4), b=(2, 6))
    other = files.ModelFile(model.path, "caffemodel", model.layers, there, kernels=kernels)
    converted, _ = files.convert_model(other, tmp_path / "o.h5", "keras", n=9)
    assert {name: array.shape for name, array in converted.others.items()} == {
        "a": (2, 3, 4),
        "b": (2, 6),
    }
    assert converted.kernels == ()
    assert converted.notes[0].startswith("a, b: the file does not tell what this is")

"""Read the batch normalizations of model files, without backnorm: what its conversions are held to.

Each reader knows one format as its framework documents it, and returns every batch normalization
with its name, its four arrays in float64, and eps if the file tells it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from _network_caffe import read_caffe
from _network_keras import read_h5, read_keras, read_tfjs
from _network_norms import SPELLINGS, norm_of, norms_in

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from _network_norms import Norm

FLAX_ARRAY = 1
"""The type of MessagePack's extension under which Flax keeps an array."""


def read(path: Path) -> list[Norm]:
    """Return the batch normalizations of a model file, by its ending."""
    return READERS[path.suffix](path)


def read_torch(path: Path) -> list[Norm]:
    """Read a state of PyTorch, alone or in a checkpoint."""
    import torch  # noqa: PLC0415 - each reader imports what its format needs

    state = torch.load(path, map_location="cpu", weights_only=True)
    arrays = {
        keys[-1]: value.double().numpy()
        for keys, value in _leaves(state)
        if isinstance(value, torch.Tensor)
    }
    return norms_in(arrays, SPELLINGS["torch"])


def read_safetensors(path: Path) -> list[Norm]:
    """Read named arrays of PyTorch."""
    from safetensors.numpy import load_file  # noqa: PLC0415

    return norms_in(load_file(path), SPELLINGS["torch"])


def read_npz(path: Path) -> list[Norm]:
    """Read named arrays of Flax."""
    with np.load(path) as arrays:
        return norms_in(dict(arrays), SPELLINGS["flax"])


def read_msgpack(path: Path) -> list[Norm]:
    """Read a tree of Flax, whose arrays are a shape, a dtype and bytes."""
    import msgpack  # noqa: PLC0415

    def array_of(code: int, data: bytes) -> Any:
        assert code == FLAX_ARRAY, code  # noqa: S101 - Flax writes other types for scalars only
        shape, dtype, values = msgpack.unpackb(data)
        return np.frombuffer(values, dtype).reshape(shape)

    tree = msgpack.unpackb(path.read_bytes(), ext_hook=array_of)
    return norms_in({"/".join(keys): array for keys, array in _leaves(tree)}, SPELLINGS["flax"])


def _leaves(tree: Mapping[Any, Any], *before: Any) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """Yield what is in dictionaries in dictionaries, each with all its keys."""
    for key, value in tree.items():
        if isinstance(value, dict):
            yield from _leaves(value, *before, key)
        else:
            yield (*before, key), value


def read_onnx(path: Path) -> list[Norm]:
    """Read the nodes of an ONNX graph whose parameters are initializers or Constant nodes."""
    import onnx  # noqa: PLC0415
    from onnx import numpy_helper  # noqa: PLC0415

    graph = onnx.load(path).graph
    tensors = {tensor.name: tensor for tensor in graph.initializer}
    tensors |= {n.output[0]: n.attribute[0].t for n in graph.node if n.op_type == "Constant"}
    norms = []
    for node in graph.node:
        if node.op_type == "BatchNormalization":
            eps = next((item.f for item in node.attribute if item.name == "epsilon"), 1e-5)
            arrays = [numpy_helper.to_array(tensors[name]) for name in node.input[1:]]
            norms.append(norm_of(node.name or node.output[0], *arrays, eps=eps))
    return norms


READERS: dict[str, Callable[[Path], list[Norm]]] = {
    ".caffemodel": read_caffe,
    ".h5": read_h5,
    ".hdf5": read_h5,
    ".json": read_tfjs,
    ".keras": read_keras,
    ".msgpack": read_msgpack,
    ".npz": read_npz,
    ".onnx": read_onnx,
    ".pt": read_torch,
    ".pth": read_torch,
    ".safetensors": read_safetensors,
}

"""A new ONNX model: each layer a node with an input and an output."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from backnorm.convert.files._guard import guard
from backnorm.convert.files._holds import Holds, check_name, distinct, fitting
from backnorm.convert.files.onnx._graph import FIELDS, OPERATOR, opset_of

if TYPE_CHECKING:
    from backnorm._types import AnyArray
    from backnorm.convert.files.record import ModelFile

__all__ = ["new_model"]

HOLDS: Final = Holds(
    dtypes=sorted(
        {
            np.dtype(helper.tensor_dtype_to_np_dtype(kind)).name
            for kind in helper.get_all_tensor_dtypes()
            if kind != TensorProto.STRING
        }
    )
)


def new_model(model: ModelFile) -> bytes:
    """Make a model in which each layer has its input and its output.

    Parameters
    ----------
    model
        With layers of one version of ONNX.

    Returns
    -------
    bytes
        The file.

    Raises
    ------
    FileError
        If ONNX cannot hold an array or its name, or two have one name.
    """
    file = model.path.name
    nodes, inputs, outputs, tensors = [], [], [], []
    for layer in model.layers:
        name = check_name(file, _identifier(layer.name), HOLDS)
        fields = FIELDS[layer.dialect]
        state = fitting(file, layer.state.items(), HOLDS)
        tensors += [_tensor(file, f"{name}.{field}", state[field]) for field in fields]
        kind = helper.np_dtype_to_tensor_dtype(state[fields[0]].dtype)
        shape: list[str | int | None] = ["N", state[fields[0]].size, None]
        inputs.append(helper.make_tensor_value_info(f"{name}_input", kind, shape))
        outputs.append(helper.make_tensor_value_info(f"{name}_output", kind, shape))
        options: dict[str, Any] = {
            key: layer.options[key] for key in ("epsilon", "momentum") if key in layer.options
        }
        sources = [f"{name}_input", *(f"{name}.{field}" for field in fields)]
        nodes.append(helper.make_node(OPERATOR, sources, [f"{name}_output"], layer.name, **options))
    others = fitting(file, model.others.items(), HOLDS)
    tensors += [_tensor(file, name, array) for name, array in others.items()]
    values: list[Any] = [*inputs, *outputs, *tensors]
    distinct(file, ((value.name, value) for value in values))
    graph = helper.make_graph(nodes, "normalizations", inputs, outputs, tensors)
    opsets = [opset_of(layer.dialect) for layer in model.layers]
    opset = helper.make_opsetid("", max(opsets, default=opset_of(list(FIELDS)[-1])))
    # The oldest IR version that has this opset: whoever reads the opset reads the file.
    whole = helper.make_model(
        graph, opset_imports=[opset], ir_version=helper.find_min_ir_version_for([opset])
    )
    with guard(file, "onnx"):  # such as more than the 2 GiB that a message may have
        return bytes(whole.SerializeToString())


def _identifier(name: str) -> str:
    return re.sub(r"\s", "_", name) or "norm"


def _tensor(file: str, name: str, array: AnyArray) -> TensorProto:
    with guard(file, "onnx"):
        return numpy_helper.from_array(array, name)

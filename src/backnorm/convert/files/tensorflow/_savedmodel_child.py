"""Run as a separate process: the variables of a checkpoint of TensorFlow, as .npz on stdout.

It needs TensorFlow and NumPy and nothing of backnorm. Its argument is the prefix of the names of
the checkpoint's files. No function of the model is loaded.
"""

from __future__ import annotations

import io
import sys
from typing import Any, Final

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import trackable_object_graph_pb2

__all__ = ["variables_of"]

GRAPH: Final = "_CHECKPOINTABLE_OBJECT_GRAPH"
"""The entry that describes the objects. In checkpoints of TensorFlow 1, which lack it, the keys are
names."""

NUMBERS: Final = "biufc"


def variables_of(prefix: str) -> dict[str, np.ndarray[Any, Any]]:
    """Return all variables by the names that they had in the program, or by their keys."""
    reader = tf.train.load_checkpoint(prefix)
    keys = reader.get_variable_to_shape_map()
    names: dict[str, str] = {}
    if GRAPH in keys:
        graph = trackable_object_graph_pb2.TrackableObjectGraph()
        graph.ParseFromString(reader.get_tensor(GRAPH))
        for node in graph.nodes:
            for attribute in node.attributes:
                names[attribute.checkpoint_key] = attribute.full_name
    arrays: dict[str, np.ndarray[Any, Any]] = {}
    for key in sorted(keys):
        value = np.asarray(reader.get_tensor(key))
        if value.dtype.kind in NUMBERS:
            name = names.get(key) or key
            arrays[key if name in arrays else name] = value
    return arrays


if __name__ == "__main__":
    stream = io.BytesIO()
    arrays: dict[str, Any] = variables_of(sys.argv[1])
    np.savez(stream, **{f"a/{name}": array for name, array in arrays.items()})
    sys.stdout.buffer.write(stream.getvalue())

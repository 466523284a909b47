"""A whole Keras network, trained on real images, converted and loaded into its PyTorch twin."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed; make test-frameworks has it")
os.environ["KERAS_BACKEND"] = "torch"
keras = pytest.importorskip("keras", reason="Keras is not installed; make test-frameworks has it")
datasets = pytest.importorskip(
    "sklearn.datasets", reason="scikit-learn, which has the images, is not installed"
)

from backnorm.convert import files  # noqa: E402
from backnorm.testing.budget import NETWORK_OUTPUT, parts  # noqa: E402

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.filterwarnings(
    "ignore:__array__ implementation doesn't accept a copy keyword",  # of Keras's variables
    "ignore:You are saving your model as an HDF5 file",
)


def trained(x: np.ndarray, labels: np.ndarray) -> Any:
    """A network with every kind of kernel and two branches, after some steps."""
    keras.utils.set_random_seed(16)
    layers = keras.layers
    start = keras.Input((8, 8, 1))
    y = layers.Conv2D(4, 3, padding="same", use_bias=False, name="stem")(start)
    y = layers.ReLU()(layers.BatchNormalization(name="stem_norm")(y))
    y = layers.DepthwiseConv2D(3, padding="same", depth_multiplier=2, name="depthwise")(y)
    y = layers.BatchNormalization(scale=False, name="depthwise_norm")(y)
    y = layers.SeparableConv2D(6, 3, padding="same", activation="relu", name="separable")(y)
    y = layers.MaxPooling2D(2)(y)
    y = layers.Conv2DTranspose(5, 2, strides=2, name="up")(y)
    y = layers.Dropout(0.1)(layers.AveragePooling2D(2)(y))
    y = layers.Dense(12, activation="relu", name="hidden")(layers.Flatten()(y))
    model = keras.Model(start, layers.Dense(10, name="scores")(y))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer="adam", loss=loss)
    model.fit(x, labels, batch_size=64, epochs=2, verbose=0)
    return model


class Twin(torch.nn.Module):
    """The network in PyTorch."""

    def __init__(self) -> None:
        """Declare the layers in the order in which they run."""
        super().__init__()
        nn = torch.nn
        self.body = nn.Sequential(
            nn.Conv2d(1, 4, 3, padding=1, bias=False),
            nn.BatchNorm2d(4, eps=1e-3),
            nn.ReLU(),
            nn.Conv2d(4, 8, 3, padding=1, groups=4),
            nn.BatchNorm2d(8, eps=1e-3),
            nn.Conv2d(8, 8, 3, padding=1, groups=8, bias=False),
            nn.Conv2d(8, 6, 1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.ConvTranspose2d(6, 5, 2, stride=2),
            nn.AvgPool2d(2),
        )
        self.head = nn.Sequential(nn.Linear(80, 12), nn.ReLU(), nn.Linear(12, 10))

    def forward(self, x: Any) -> Any:
        """Return the scores."""
        return self.head(self.body(x).flatten(1))


@pytest.mark.parametrize("name", ["m.keras", "m.h5"])
def test_a_keras_network_becomes_its_twin(name: str, tmp_path: Path) -> None:
    """Loaded strictly under the twin's names, it computes what Keras computes."""
    digits = datasets.load_digits()
    x = (digits.images[..., None] / 16).astype(np.float32)
    source = trained(x[:512], digits.target[:512])
    source.save(tmp_path / name)
    torch.manual_seed(0)
    twin = Twin()
    torch.save(twin.state_dict(), tmp_path / "twin.pt")
    out = tmp_path / "o.pt"
    model = files.read(tmp_path / name)
    converted, _ = files.convert_model(model, out, "torch", n=64 * 64)
    match = files.match_names(converted, files.read(tmp_path / "twin.pt"))
    files.write(out, match.model)
    twin.load_state_dict(torch.load(out, weights_only=True), strict=True)
    images = x[512:]
    with torch.no_grad():
        y = twin.eval()(torch.from_numpy(np.moveaxis(images, -1, 1).copy())).numpy()
    assert parts(y, np.asarray(source.predict(images, verbose=0))) <= NETWORK_OUTPUT


def plain(*, scale: bool) -> Any:
    """A compiled network of Keras with a norm and a Flatten, whose eps is PyTorch's."""
    layers = keras.layers
    start = keras.Input((8, 8, 1))
    y = layers.Conv2D(4, 3, padding="same", use_bias=False, name="stem")(start)
    y = layers.BatchNormalization(name="norm", epsilon=1e-5, scale=scale)(y)
    y = layers.Flatten()(layers.MaxPooling2D(2)(layers.ReLU()(y)))
    y = layers.Dense(64, activation="relu", name="hidden")(y)
    model = keras.Model(start, layers.Dense(10, name="scores")(y))
    model.compile(optimizer="adam", loss=keras.losses.MeanSquaredError())
    model.fit(np.zeros((2, 8, 8, 1)), np.zeros((2, 10)), verbose=0)
    return model


BY_NAME = [("0/*", "stem/*"), ("1/*", "norm/*"), ("5/*", "hidden/*"), ("7/*", "scores/*")]


@pytest.mark.parametrize(
    ("name", "scale"),
    [("m.keras", True), ("m.h5", False), ("m.weights.h5", False), ("names.h5", True)],
)
def test_a_pytorch_network_becomes_its_keras_twin(name: str, scale: bool, tmp_path: Path) -> None:  # noqa: FBT001
    """As a file like that of the twin, or under the names of its layers."""
    nn = torch.nn
    torch.manual_seed(16)
    linear = [nn.Flatten(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10)]
    conv = nn.Conv2d(1, 4, 3, padding=1, bias=False)
    net = nn.Sequential(conv, nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2), *linear)
    for _ in range(20):
        net(2 * torch.randn(16, 1, 8, 8) + 1)
    torch.save(net.state_dict(), tmp_path / "net.pt")
    twin, own, out = plain(scale=scale), tmp_path / f"twin_{name}", tmp_path / name
    settings = [("*", "eps", 1e-5), ("5", "flatten", 4), ("7", "flatten", False)]
    model = files.read(tmp_path / "net.pt", settings=settings)
    converted, _ = files.convert_model(model, out, "keras", n=16 * 64)
    if name == "names.h5":
        files.write(out, files.with_names(converted, BY_NAME))
        twin.load_weights(out, by_name=True)
    else:
        (twin.save_weights if "weights" in name else twin.save)(own)
        settings = [("*", "epsilon", 1e-5), ("*", "scale", False)][: 1 if scale else 2]
        like = files.read(own, settings=settings if "weights" in name else ())
        files.write(out, files.match_names(converted, like).model)
        if "weights" in name:
            twin.load_weights(out)
        else:
            twin = keras.models.load_model(out)
    images = torch.randn(5, 1, 8, 8)
    with torch.no_grad():
        y = net.eval()(images).numpy()
    last = np.moveaxis(images.numpy(), 1, -1)
    assert parts(np.asarray(twin.predict(last, verbose=0)), y) <= NETWORK_OUTPUT

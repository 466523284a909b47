"""Timm's own tests are run with converted models: the plugin, on a file of tests like timm's."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

import upstream  # noqa: E402
from _upstreams import UPSTREAMS  # noqa: E402
from with_torch.architectures import catalog  # noqa: E402

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.skipif(
    not catalog.installed(), reason="torchvision or timm is missing; make test-architectures"
)

MODEL = "test_efficientnet"

TESTS = """
import pytest
import torch
from timm import create_model, list_models

DRAWN = []
NAMES = ["test_efficientnet", "test_efficientnet.r160_in1k", "test_resnet"]


@pytest.mark.timeout(60)
@pytest.mark.parametrize("batch_size", [2])
@pytest.mark.parametrize("model_name", NAMES)
def test_forward(model_name, batch_size):
    model = create_model(model_name, num_classes=7)
    assert model(torch.zeros(batch_size, 3, 64, 64)).shape == (batch_size, 7)


@pytest.mark.parametrize("model_name", NAMES[:1])
def test_class(model_name):
    classes = type(create_model(model_name).bn1).__mro__
    assert not any("backnorm" in one.__module__ for one in classes)


@pytest.mark.parametrize("model_name", NAMES[:1])
def test_torchscript(model_name):
    torch.jit.script(create_model(model_name, scriptable=True))


@pytest.mark.parametrize("model_name", NAMES[:1])
def test_weights(model_name):
    create_model(model_name, pretrained=True)


@pytest.mark.parametrize("model_name", ["test_vit"])
def test_of_another_kind(model_name):
    create_model(model_name)


@pytest.mark.parametrize("model_name", NAMES[:1])
@pytest.mark.parametrize("run", [1, 2])
def test_random_state(model_name, run):
    DRAWN.append(torch.rand(3))
    assert torch.equal(DRAWN[0], DRAWN[-1])


def test_without_a_model():
    assert list_models()
"""

SELECTED = {
    "test_forward[test_efficientnet-2]": "passed",
    "test_forward[test_efficientnet.r160_in1k-2]": "passed",
    "test_class[test_efficientnet]": "passed",
    "test_torchscript[test_efficientnet]": "passed",
    "test_weights[test_efficientnet]": "failed",
    "test_random_state[1-test_efficientnet]": "passed",
    "test_random_state[2-test_efficientnet]": "passed",
}


def run(folder: Path, models: tuple[str, ...], *, converted: bool) -> dict[str, Any]:
    """Return the outcomes of the tests above."""
    (folder / "tests").mkdir()
    (folder / "tests" / "test_models.py").write_text(TESTS, encoding="utf-8")
    (folder / "pyproject.toml").write_text("[tool.pytest.ini_options]\n", encoding="utf-8")
    timm = next(one for one in UPSTREAMS if one.name == "timm")
    tested = replace(timm, options=(f"--models={','.join(models)}",))
    return upstream.outcomes(folder, tested, converted=converted)


def test_stock_models_are_stock(tmp_path: Path) -> None:
    """The tests of the model run, also of its weights by name, each from the same random state."""
    found = run(tmp_path, (MODEL,), converted=False)
    assert {name: one["outcome"] for name, one in found.items()} == SELECTED
    assert {one["layers"] for one in found.values()} == {0}
    assert {one["model"] for one in found.values()} == {MODEL}


def test_converted_models_are_converted(tmp_path: Path) -> None:
    """A test sees the engine's classes, and a refusal of TorchScript differs from a failure."""
    found = run(tmp_path, (MODEL,), converted=True)
    changed = {"test_class[test_efficientnet]": "failed"}
    changed["test_torchscript[test_efficientnet]"] = "refused"
    assert {name: one["outcome"] for name, one in found.items()} == {**SELECTED, **changed}
    assert found["test_forward[test_efficientnet-2]"]["layers"] > 10


def test_a_model_that_is_not_converted_fails(tmp_path: Path) -> None:
    """Else its tests would be stock's."""
    found = run(tmp_path, ("test_vit",), converted=True)
    (only,) = found.values()
    assert only["outcome"] == "failed"
    assert "0 of 0 converted" in only["why"]

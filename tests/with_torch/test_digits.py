"""The example that trains on handwritten digits: real images, both networks, the same result."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
pytest.importorskip("sklearn", reason="scikit-learn, which has the images, is not installed")

from with_torch.engine.tensors import needs_engine  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Iterator

FILE = Path(__file__).parents[2] / "examples" / "digits.py"

STEPS = 23
"""Of an epoch: 1437 images, 64 at a time."""


@pytest.fixture(name="digits")
def _digits(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return the example as a module."""
    spec = importlib.util.spec_from_file_location("digits", FILE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "digits", module)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def _float64() -> Iterator[None]:
    """Let networks and images be of float64."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


@needs_engine
@pytest.mark.usefixtures("_float64")
def test_both_networks_have_the_same_losses(digits: Any) -> None:
    """An epoch in float64 leaves 1e-14 of rounding; through no statistics they are off by 23."""
    trainees = digits.trained(1, seed=0)
    stock, converted = (trainees[name].losses for name in ("stock", "converted"))
    assert len(stock) == len(converted) == STEPS
    assert stock != converted
    torch.testing.assert_close(torch.tensor(converted), torch.tensor(stock), rtol=1e-9, atol=0)
    assert stock[-1] < stock[0] / 4


@needs_engine
def test_the_example_reaches_the_same_accuracy_with_both(digits: Any) -> None:
    """It says how many layers the engine took over, and names digits it has never seen."""
    result = CliRunner().invoke(digits.main, ["--epochs", "3"])
    assert result.exit_code == 0, result.output
    assert "9 of 9 converted, 7 fused" in result.output
    right = {
        words[0]: int(words[1])
        for words in map(str.split, result.output.splitlines())
        if words and words[0] in {"stock", "converted"} and words[2:4] == ["of", "360"]
    }
    assert right.keys() == {"stock", "converted"}
    assert min(right.values()) >= 340
    assert abs(right["stock"] - right["converted"]) <= 6

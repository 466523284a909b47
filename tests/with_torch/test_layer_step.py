"""The operation autograd of the benchmark: what it runs, checks and refuses."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from click.testing import CliRunner

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

import backnorm.torch  # noqa: E402
from backnorm.bench import engine  # noqa: E402
from backnorm.cli import main  # noqa: E402
from backnorm.errors import BenchmarkError, NotInstalledError  # noqa: E402
from backnorm.torch.bench.layer_step import LayerStep  # noqa: E402
from with_torch.engine.tensors import needs_engine  # noqa: E402

if TYPE_CHECKING:
    from pathlib import Path


@needs_engine
@pytest.mark.parametrize("layout", ["nchw", "nhwc"])
@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bfloat16"])
@pytest.mark.parametrize("shape", [(6, 5, 4, 3), (16, 5)])
def test_both_modules_run_and_ours_is_checked(
    shape: tuple[int, ...], dtype: str, layout: str
) -> None:
    """In every format and layout, each with gradients of its own."""
    ours, stock = engine.autograd_calls(engine.data(shape, layout, dtype), 1)
    assert set(ours) == {"backnorm", "copy (plain)", "copy (streaming)"}
    assert set(stock) == {"torch"}
    own, others = ours["backnorm"], stock["torch"]
    assert isinstance(own, LayerStep)
    assert isinstance(others, LayerStep)
    assert own().is_contiguous(
        memory_format=torch.channels_last
        if layout == "nhwc" and len(shape) == 4
        else torch.contiguous_format
    )
    coarse = {"float64": 1e-12, "float32": 1e-5}.get(dtype, 0.1)
    for name, value in own.results().items():
        np.testing.assert_allclose(value, others.results()[name], coarse, coarse)


def test_the_layers_are_ours_and_stock() -> None:
    """One of each package."""
    job = engine.data((4, 3, 2, 2), "nchw", "float32")
    given = (job.x, job.dy, job.gamma, job.beta)
    kinds = [type(LayerStep(*given, own=own, threads=1)._layer) for own in (True, False)]
    assert kinds == [backnorm.torch.BatchNorm2d, torch.nn.BatchNorm2d]


@pytest.mark.parametrize("wrong", ["y", "dx", "dgamma", "dbeta"])
def test_a_wrong_result_is_not_timed(wrong: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whichever of the four it is."""
    real = LayerStep.results

    def spoilt(self: LayerStep) -> dict[str, Any]:
        found = real(self)
        return {**found, wrong: found[wrong] * 1.001}

    monkeypatch.setattr(LayerStep, "results", spoilt)
    with pytest.raises(BenchmarkError, match="autograd"):
        engine.autograd_calls(engine.data((4, 3, 2, 2), "nchw", "float32"), 1)


def test_without_pytorch_it_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """With what to install."""
    monkeypatch.setattr(engine, "find_spec", lambda _: None)
    with pytest.raises(NotInstalledError, match=r"--op autograd needs it"):
        engine.autograd_calls(engine.data((4, 3, 2, 2), "nchw", "float32"), 1)


@needs_engine
def test_the_command_shows_and_writes_it(tmp_path: Path) -> None:
    """A row for each layout, with PyTorch as the peer and no given output."""
    file = tmp_path / "bench.json"
    words = ["bench", "--op", "autograd", "--suite", "dense", "--rounds", "1", "--json", str(file)]
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 0, result.output
    rows = json.loads(file.read_text())["rows"]
    assert {row["op"] for row in rows} == {"autograd"}
    assert {row["layout"] for row in rows} == {"nchw", "nhwc"}
    assert all(set(row["peers"]) == {"torch"} and row["to_fastest_peer"] > 0 for row in rows)
    assert all(row["backnorm_given"] is None for row in rows)

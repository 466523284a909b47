"""oneDNN as a peer: where it is, what it computes; where it is not, a line."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import numpy as np
import pytest
from click.testing import CliRunner

from backnorm import kernels
from backnorm.bench import BenchOptions, accuracy, engine, onednn, run
from backnorm.cli import main
from backnorm.errors import BenchmarkError

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def loaded() -> object:
    """The library, or no test."""
    try:
        return onednn.library()
    except BenchmarkError as error:
        pytest.skip(str(error))


@pytest.mark.parametrize("layout", ["nchw", "nhwc"])
@pytest.mark.parametrize("op", onednn.OPERATIONS)
@pytest.mark.parametrize("shape", [(3, 40, 5, 7), (64, 24)])
def test_it_computes_batch_normalization(
    loaded: object, op: str, layout: str, shape: tuple[int, ...]
) -> None:
    """Its float32 sums lose digits, not more."""
    arrays = engine.data(shape, layout, "float32")
    layer = onednn.layer(loaded, op, layout, arrays, 1)  # type: ignore[arg-type]
    assert layer is not None
    results = onednn.results(op, layer)
    assert results.keys() == ({"y"} if op == "forward" else {"dx", "dgamma", "dbeta"})
    exact = engine.exact(op, arrays, list(range(shape[1])))
    for name, result in results.items():
        assert np.abs(result - exact[name]).max() <= 1e-5 * np.abs(exact[name]).max(), name
    assert layer.implementation


def test_it_has_no_float64_and_no_activations(loaded: object) -> None:
    """So it is left out there."""
    for op, dtype in (("forward", "float64"), ("forward_relu", "float32")):
        arrays = engine.data((2, 16, 3, 3), "nchw", dtype)
        assert onednn.layer(loaded, op, "nchw", arrays, 1) is None  # type: ignore[arg-type]


def test_its_version_is_that_of_the_library(loaded: object) -> None:
    """Three numbers."""
    assert len(onednn.version(loaded).split(".")) == 3  # type: ignore[arg-type]


@pytest.mark.usefixtures("loaded")
@pytest.mark.skipif(kernels.get().name != "native", reason="the C++ part was not built")
def test_its_time_and_its_errors_stand_in_the_row() -> None:
    """Beside the engine's."""
    row = next(run(BenchOptions("dense", ("nchw",), peers=("onednn",), rounds=1)))
    assert row.peers.keys() == row.to_frameworks.keys() == {"onednn"}
    assert row.errors["onednn"].keys() == row.errors["backnorm"].keys() == {"y"}


def test_the_compiler_is_called_once(loaded: object, tmp_path: Path) -> None:
    """What it made is found again."""
    del loaded
    onednn.library(tmp_path)
    made = [(file.name, file.stat().st_ino) for file in tmp_path.iterdir()]
    onednn.library(tmp_path)
    assert [(file.name, file.stat().st_ino) for file in tmp_path.iterdir()] == made
    assert len(made) == 1


def test_without_its_headers_there_is_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The compiler's words for what is missing."""
    if shutil.which("c++") is None:
        pytest.skip("there is no compiler whose words could be shown")
    source = tmp_path / "onednn.cpp"
    source.write_text("#include <dnnl_that_is_not_there.hpp>\n")
    monkeypatch.setattr(onednn, "SOURCE", source)
    with pytest.raises(BenchmarkError, match=r"^oneDNN is not timed: .*not_there\.hpp") as caught:
        onednn.library(tmp_path)
    assert "\n" not in str(caught.value)


def without_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take the compilers away."""
    monkeypatch.setattr(onednn.shutil, "which", lambda _: None)


@pytest.mark.skipif(kernels.get().name != "native", reason="the C++ part was not built")
def test_the_command_goes_on_without_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody asked for it by name."""
    without_compiler(monkeypatch)
    arguments = ["bench", "--suite", "dense", "--layout", "nchw", "--op", "forward"]
    result = CliRunner().invoke(main, [*arguments, "--rounds", "1"])
    assert result.exit_code == 0, result.output
    assert result.stderr.splitlines()[0].startswith("oneDNN is not timed: there is no C++ compiler")
    assert "onednn" not in result.stdout


def test_the_command_ends_without_it_if_it_was_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """By --peers."""
    without_compiler(monkeypatch)
    result = CliRunner().invoke(main, ["bench", "--suite", "dense", "--peers", "onednn"])
    assert result.exit_code == 1
    assert "oneDNN is not timed" in result.output


def test_errors_are_in_units_of_rounding() -> None:
    """Of y relative to the channel's largest value, of dgamma relative to itself."""
    arrays = engine.data((4, 3, 2, 2), "nchw", "float32")
    exact = engine.exact("backward", arrays, [0, 1, 2])
    dx, dgamma = (exact[name].astype(np.float32) for name in ("dx", "dgamma"))
    unit = np.float32(2.0**-23)
    place = np.unravel_index(np.abs(dx[:, 1]).argmax(), dx[:, 1].shape)
    dx[:, 1][place] *= 1 + 16 * unit
    dgamma[2] *= 1 + 64 * unit
    errors = accuracy.errors("backward", arrays, {"dx": dx, "dgamma": dgamma})
    assert errors["dx"] == pytest.approx(16, abs=1)
    assert errors["dgamma"] == pytest.approx(64, abs=1)

"""--device: where it cannot be used, and devices that are not there, told in one line."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from backnorm.audit import audit
from backnorm.audit.specimens.plain import Plain
from backnorm.cli import main
from backnorm.errors import SubjectError

if TYPE_CHECKING:
    from pathlib import Path


def audited(*words: str) -> tuple[int, str]:
    """Return the status of a quick audit, and its output on one line."""
    done = CliRunner().invoke(main, ["audit", "--quick", *words])
    return done.exit_code, " ".join(done.output.split())


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--device", "gpu", "engine"), "gpu is not cuda, mps, xpu or cpu"),
        (("--device", "cuda:", "engine"), "cuda: is not cuda, mps, xpu or cpu"),
        (("--device", "cpu", "--program", "true"), "--device cannot be used with --program"),
        (("--device", "cpu", "engine"), "cannot be chosen: it is a pair of NumPy."),
        (("--device", "cpu", "specimens"), "cannot be chosen: it is a pair of NumPy."),
    ],
)
def test_what_has_no_device_is_refused(words: tuple[str, ...], said: str) -> None:
    """With the reason, and status 2."""
    status, text = audited(*words)
    assert status == 2
    assert said in text


def test_a_model_is_audited_where_it_is() -> None:
    """It is moved by whoever builds it."""
    done = CliRunner().invoke(main, ["audit", "--model", "net.py:Net", "--device", "cpu"])
    assert done.exit_code == 2
    assert "--device cannot be used with --model" in done.output


def test_the_settings_of_a_target_may_name_a_device(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on the command line."""
    (tmp_path / "pyproject.toml").write_text(
        '[tool.backnorm]\ntargets = [{target = "engine", device = "cpu"}]\n', "utf-8"
    )
    monkeypatch.chdir(tmp_path)
    status, text = audited()
    assert status == 2
    assert "cannot be chosen: it is a pair of NumPy." in text


def test_a_pair_is_called_with_arrays_of_numpy() -> None:
    """It has no device."""
    with pytest.raises(
        SubjectError,
        match="The audit makes arrays on a device for layers and functions of PyTorch and JAX",
    ):
        audit(Plain, device="cuda")


def test_a_device_that_is_not_there_is_told_in_one_line_with_the_reason() -> None:
    """PyTorch says why."""
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    if torch.cuda.is_available():
        pytest.skip("CUDA is here")
    status, text = audited("--device", "cuda", "torch.nn.LayerNorm", "--args", "[6]")
    assert status == 2
    # A build for the CPU raises the one, a build for GPUs on a machine without one the other.
    start = f"G27: No cuda for torch.nn.LayerNorm: torch {re.escape(torch.__version__)} says "
    assert re.match(start + "(AssertionError|RuntimeError): ", text)
    assert text.endswith("1 layer could not be audited.")


def test_a_record_says_on_which_device() -> None:
    """In a note."""
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    record = audit(torch.nn.LayerNorm(6), "layer", device="cpu")
    assert record.sound
    assert "Its arrays were made on cpu." in record.notes

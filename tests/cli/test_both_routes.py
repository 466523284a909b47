"""A target under another interpreter is called by the same code: the record is the same."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

from backnorm.cli._jobs import AuditJob, audit_jobs
from backnorm.report import to_text

HERE = Path(__file__).parent
PAIRS = HERE.parent / "audit" / "pairs.py"
MODULES = HERE.parent / "with_torch" / "own_modules.py"

QUICK = ("engine", "specimens")

IN_FULL = {
    # What each is a sample of: pairs with state, modes, further derivatives, dtypes, memory order,
    # results of a wrong type; modules, functions and autograd.Function; a layer of this package.
    "backnorm.audit.specimens.plain:Plain": "both",
    "backnorm.audit.specimens.running:RunningStatistics": "both",
    "backnorm.audit.specimens.orders:ThreeOrders": "both",
    "backnorm.audit.specimens.digits:AllInHalf": "both",
    "backnorm.audit.specimens.inputs:MemoryTrusted": "both",
    f"{PAIRS}:Running": "both",
    f"{PAIRS}:Relu": "both",
    f"{HERE / 'hosted.py'}:NoTuple": "both",
    f"{HERE / 'hosted.py'}:Nothing": "both",
    f"{HERE / 'hosted.py'}:Traces": "both",
    f"{HERE / 'hosted.py'}:Subject": "both",
}

OF_TORCH = {
    "torch.nn:BatchNorm1d": "both",
    "torch.nn:LayerNorm": "both",
    "torch.nn.functional:batch_norm": "both",
    "backnorm.torch:BatchNorm2d": "train",
    f"{MODULES}:ConvNorm": "train",
    f"{MODULES}:Tutorial": "both",
    f"{MODULES}:Hand": "both",
    f"{MODULES}:HandShort": "both",
    f"{MODULES}:Detached": "both",
    f"{MODULES}:unclear": "both",
}


def assert_same(job: dict[str, object]) -> None:
    """Audit here and under the same interpreter: all is the same but the times."""
    here, there = (
        list(audit_jobs([AuditJob(**job, python=python)], seconds=300))  # type: ignore[arg-type]
        for python in ("", sys.executable)
    )
    assert here
    assert there == here
    assert to_text(there) == to_text(here)


@pytest.mark.parametrize("target", QUICK)
def test_all_of_this_package_is_the_same(target: str) -> None:
    """Every specimen and the engine, of which the verdict on the gradient is quick."""
    assert_same({"target": target, "quick": True})


@pytest.mark.parametrize("target", IN_FULL)
def test_a_pair_is_the_same_in_full(target: str) -> None:
    """All findings, all probes, all numbers."""
    assert_same({"target": target, "modes": IN_FULL[target]})


def test_all_layers_of_torch_are_the_same() -> None:
    """Those of this package too; the modes differ in what the next tests look at in full."""
    pytest.importorskip("torch", reason="PyTorch is not installed")
    assert_same({"target": "torch", "quick": True, "modes": "train"})


@pytest.mark.parametrize("target", OF_TORCH)
def test_a_layer_of_torch_is_the_same_in_full(target: str) -> None:
    """State, further derivatives, dtypes, threads, and the order of x and dy in memory."""
    if importlib.util.find_spec("torch") is None:
        pytest.skip("PyTorch is not installed")
    assert_same({"target": target, "modes": OF_TORCH[target]})

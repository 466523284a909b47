"""A target under another interpreter is called by the same code: the record is the same."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from backnorm.audit.specimens import SPECIMENS
from backnorm.cli._jobs import AuditJob, audit_jobs
from backnorm.report import to_text

if TYPE_CHECKING:
    from backnorm.audit.subjects.request import Modes

HERE = Path(__file__).parent
PAIRS = HERE.parent / "audit" / "pairs.py"
MODULES = HERE.parent / "with_torch" / "own_modules.py"

# Each of the others is in this run or in the next ones by its kind; all of them twice take minutes.
CLASSES = [made for made, _ in SPECIMENS.values() if isinstance(made, type)]
QUICK = ("engine", *(f"{made.__module__}:{made.__qualname__}" for made in CLASSES[::8]))

QUICK_OF_TORCH = ("torch.nn:InstanceNorm2d", "torch.nn:RMSNorm")

IN_FULL: dict[str, Modes] = {
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

OF_TORCH: dict[str, Modes] = {
    "torch.nn:BatchNorm1d": "train",
    "torch.nn:LayerNorm": "both",
    "torch.nn.functional:batch_norm": "both",
    "backnorm.torch:BatchNorm2d": "train",
    f"{MODULES}:ConvNorm": "train",
    f"{MODULES}:Hand": "both",
    f"{MODULES}:Detached": "both",
    f"{MODULES}:unclear": "both",
}


def assert_same(jobs: dict[str, Modes], *, quick: bool) -> None:
    """Audit here and under the same interpreter: all is the same but the times."""
    here, there = (
        list(audit_jobs([AuditJob(t, modes=m, quick=quick, python=p) for t, m in jobs.items()]))
        for p in ("", sys.executable)
    )
    assert len(here) >= len(jobs) > 1
    assert there == here
    assert to_text(there) == to_text(here)


def test_pairs_are_the_same() -> None:
    """The engine and specimens, of which the verdict on the gradient is quick."""
    assert_same(dict.fromkeys(QUICK, "both"), quick=True)


@pytest.mark.thorough
def test_pairs_are_the_same_in_full() -> None:
    """All findings, all probes, all numbers."""
    assert_same(IN_FULL, quick=False)


def test_layers_of_torch_are_the_same() -> None:
    """The next test looks at others in full."""
    pytest.importorskip("torch", reason="PyTorch is not installed")
    assert_same(dict.fromkeys(QUICK_OF_TORCH, "train"), quick=True)


@pytest.mark.thorough
def test_layers_of_torch_are_the_same_in_full() -> None:
    """State, further derivatives, dtypes, threads, and the order of x and dy in memory."""
    if importlib.util.find_spec("torch") is None:
        pytest.skip("PyTorch is not installed")
    assert_same(OF_TORCH, quick=False)

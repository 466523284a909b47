"""The layers of PyTorch in two processes: the same list, and what Ctrl-C leaves."""

from __future__ import annotations

import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import psutil
import pytest

from backnorm.cli._jobs import AuditJob, audit_jobs
from cli.processes import assert_gone, wait_until
from with_torch.test_layers import VERDICTS

if TYPE_CHECKING:
    from backnorm.audit.subjects.request import Modes

pytest.importorskip("torch", reason="PyTorch is not installed")


@pytest.mark.parametrize("modes", ["train", pytest.param("both", marks=pytest.mark.thorough)])
def test_two_processes_give_the_list_in_its_order(modes: Modes) -> None:
    """Each layer gets its verdict, and the progress counts the layers of the list."""
    verdicts = {
        name: verdict
        for name, verdict in VERDICTS.items()
        if modes == "both" or not name.endswith(" (eval)")
    }
    stages = []
    job = AuditJob("torch", modes=modes, quick=True)
    records = list(audit_jobs([job], stages.append, workers=2))
    assert {r.target: (r.kind, r.mode, r.through) for r in records} == verdicts
    assert [record.target for record in records] == list(verdicts)
    assert [stage.done for stage in stages] == sorted(stage.done for stage in stages)
    layers = {target.partition(" (")[0] for target in VERDICTS}
    assert {stage.total for stage in stages} == {len(layers)}


@pytest.mark.thorough
def test_ctrl_c_ends_both_processes() -> None:
    """Nothing that was started is left, and the exit status is that of an interrupt."""
    command = [sys.executable, "-m", "backnorm", "audit", "torch", "--jobs", "2"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    there = psutil.Process(process.pid)
    assert wait_until(lambda: len(there.children()) == 2)
    children = [child.pid for child in there.children(recursive=True)]
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 1
    assert b"Traceback" not in said
    assert_gone(children)

"""The example that trains with several processes: one hash for any number of them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
pytest.importorskip("sklearn", reason="scikit-learn, which has the images, is not installed")

from with_torch.engine.tensors import needs_engine  # noqa: E402

FILE = Path(__file__).parents[2] / "examples" / "distributed.py"


@needs_engine
@pytest.mark.skipif(
    not torch.distributed.is_available(), reason="this PyTorch cannot train in two processes"
)
def test_the_example_prints_one_hash() -> None:
    """1437 images in steps of 64 and one of 29, by one rank and by three, are trained alike."""
    command = [sys.executable, str(FILE), "--processes", "1", "--processes", "3", "--epochs", "1"]
    done = subprocess.run(
        command,
        check=False,
        capture_output=True,
        text=True,
        env={**os.environ, "COLUMNS": "100"},
    )
    assert done.returncode == 0, done.stderr
    _, first, second = (line.split() for line in done.stdout.splitlines() if line.strip())
    assert (first[0], second[0]) == ("1", "3")
    assert first[1:] == second[1:]
    loss, right, *_, sha256 = first[1:]
    assert float(loss) < 1.5
    assert int(right) > 250
    assert len(sha256) == 16

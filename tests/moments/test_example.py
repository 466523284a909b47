"""The example that computes moments of shards on Dask and on Ray."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

FILE = Path(__file__).parents[2] / "examples" / "sharded_moments.py"


@pytest.mark.parametrize("engine", ["dask", "ray"])
def test_workers_have_the_bits_of_one_process(engine: str) -> None:
    """Shards are read and added by processes of the engine."""
    pytest.importorskip(engine, reason=f"{engine} is not installed; backnorm[cluster] has it")
    done = subprocess.run(
        [sys.executable, str(FILE), engine], check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    first, *_, last = done.stdout.splitlines()
    assert first == "122880 values a channel of 20 shards"
    assert last == "same bits as one process: True"

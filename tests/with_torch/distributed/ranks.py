"""Processes that run a function together, one a rank; what they return, in the order of ranks."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from datetime import timedelta
from importlib import import_module
from pathlib import Path
from typing import Any

__all__ = ["together"]

TESTS = Path(__file__).parents[2]


def together(function: Any, ranks: int, folder: Path, *, timeout: float = 300.0) -> list[Any]:
    """Call function(rank) in so many processes of a gloo group, and return its results.

    The function is found by its name, so it stands at the top of a module of the tests. timeout is
    the group's, in seconds.
    """
    name = f"{function.__module__}:{function.__name__}"
    outputs = [folder / f"{rank}.pickle" for rank in range(ranks)]
    arguments = [name, str(ranks), str(folder / "meeting"), str(timeout)]
    children = [
        subprocess.Popen(
            [sys.executable, "-W", "error", __file__, str(rank), str(output), *arguments],
            stderr=subprocess.PIPE,
            cwd=TESTS,
            env={**os.environ, "PYTHONPATH": str(TESTS), "OMP_NUM_THREADS": "1"},
        )
        for rank, output in enumerate(outputs)
    ]
    said = [child.communicate(timeout=600)[1].decode() for child in children]
    assert [child.returncode for child in children] == [0] * ranks, "\n".join(said)
    return [pickle.loads(output.read_bytes()) for output in outputs]  # noqa: S301 - our own


def main(rank: int, output: str, name: str, *, ranks: int, meeting: str, timeout: float) -> None:
    """Meet the other ranks, call the function and write its result."""
    from torch import distributed  # noqa: PLC0415 - only here, in a process of its own

    distributed.init_process_group(
        "gloo",
        init_method=f"file://{meeting}",
        rank=rank,
        world_size=ranks,
        timeout=timedelta(seconds=timeout),
    )
    module, function = name.split(":")
    result = getattr(import_module(module), function)(rank)
    Path(output).write_bytes(pickle.dumps(result))


if __name__ == "__main__":
    own, shared = sys.argv[1:4], sys.argv[4:]
    main(int(own[0]), *own[1:], ranks=int(shared[0]), meeting=shared[1], timeout=float(shared[2]))
    # Threads of the group may still run, and a process that ends around them may abort.
    sys.stderr.flush()
    os._exit(0)

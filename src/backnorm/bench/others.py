"""Peers of other environments, timed by a child under their own interpreter."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from backnorm.bench import peers
from backnorm.errors import BenchmarkError

if TYPE_CHECKING:
    from backnorm.bench.run import BenchOptions
    from backnorm.bench.suites import BenchCase

__all__ = ["outside"]

# A framework that has not answered for one case by then hangs.
LIMIT_SECONDS = 300.0


def outside(  # noqa: PLR0917 - the words of one job
    peer: str,
    interpreter: str,
    case: BenchCase,
    op: str,
    layout: str,
    options: BenchOptions,
    threads: int,
) -> dict[str, float]:
    """Return the seconds that peers.py measures under another interpreter."""
    if op not in peers.OPERATIONS:
        return {}
    one = {"key": "it", "op": op, "layout": layout, "dtype": options.dtype, "shape": case.shape}
    job = {"peer": peer, "cases": [one], "rounds": options.rounds, "threads": threads}
    try:
        child = subprocess.run(
            [interpreter, str(Path(peers.__file__))],
            input=json.dumps(job).encode(),
            capture_output=True,
            timeout=LIMIT_SECONDS,
            check=True,
        )
        times: dict[str, float] = json.loads(child.stdout)["it"]
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        words = getattr(error, "stderr", None) or str(error).encode()
        raise BenchmarkError.peer_failed(
            peer, interpreter, words.decode(errors="replace")
        ) from None
    return times

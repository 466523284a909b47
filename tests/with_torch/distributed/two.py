"""What two ranks compute for test_calls.py, all in one start."""

from __future__ import annotations

from typing import Any

from with_torch.distributed import hiding, numerical

__all__ = ["run"]


def run(rank: int) -> dict[str, Any]:
    """Return the results of each part."""
    return {
        "derivatives": numerical.checks(rank),
        "masks": hiding.results(rank),
        "bytes": hiding.bytes_of_function(rank),
        "doubles": hiding.doubles(rank),
    }

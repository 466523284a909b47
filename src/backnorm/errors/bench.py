"""Errors about the benchmark."""

from __future__ import annotations

from typing import TYPE_CHECKING

from backnorm.errors.base import BacknormError, as_tuple, short

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["BenchmarkError"]


class BenchmarkError(BacknormError, RuntimeError):
    """Something cannot be timed, or is not worth timing."""

    @classmethod
    def wrong_result(
        cls, op: str, shape: Sequence[int], difference: float, allowed: float
    ) -> BenchmarkError:
        """The engine's result is not the reference's: there is nothing to time."""
        return cls(
            f"{op} of {as_tuple(shape)}",
            f"differ from the reference by at most {allowed:.1e} of the largest value",
            f"{difference:.1e}",
            "Only a right result is timed.",
            "Run the tests, and report this with what `backnorm env` prints.",
        )

    @classmethod
    def peer_failed(cls, peer: str, interpreter: str, words: str) -> BenchmarkError:
        """A framework under another interpreter could not be timed."""
        return cls(
            f"the peer {peer}",
            f"run under {interpreter}",
            short(words.strip()),
            "It is timed by a child process that needs that framework and nothing else.",
            f"Check with: {interpreter} -c 'import {peer}'",
        )

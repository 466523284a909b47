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
        """Return the error of a result that differs from the reference's."""
        return cls(
            f"{op} of {as_tuple(shape)}",
            f"differ from the reference by at most {allowed:.1e} of the largest value",
            f"{difference:.1e}",
            "Only a correct result is timed.",
            "Run the tests, and report this with the output of `backnorm env`.",
        )

    @classmethod
    def peer_failed(cls, peer: str, interpreter: str, words: str) -> BenchmarkError:
        """Return the error of a framework that cannot be timed under another interpreter."""
        got = short(words.strip())
        return cls(
            peer,
            f"to run under {interpreter}",
            got,
            "A child process times it, and needs that framework alone.",
            f"Check with: {interpreter} -c 'import {peer}'",
            problem=f"{peer} cannot be timed under {interpreter}: {got}.",
        )

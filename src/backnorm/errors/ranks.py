"""Errors about work that several processes do together."""

from __future__ import annotations

from typing import TYPE_CHECKING

from backnorm.errors.base import BacknormError

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["OtherRankError"]


class OtherRankError(BacknormError, RuntimeError):
    """Another rank of the process group failed, so that there is no result on any."""

    @classmethod
    def failed(cls, ranks: Sequence[int]) -> OtherRankError:
        """Return the error of this rank where others failed."""
        named = f"rank {ranks[0]}" if len(ranks) == 1 else f"ranks {', '.join(map(str, ranks))}"
        return cls(
            named,
            "a result",
            "an exception",
            "A result needs the data of all ranks, so it is an error on each of them.",
            f"Read the exception of {named}.",
            problem=f"The process group has no result: {named} failed.",
        )

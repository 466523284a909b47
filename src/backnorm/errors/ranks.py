"""Errors about processes that compute together."""

from __future__ import annotations

from typing import TYPE_CHECKING

from backnorm.errors.base import BacknormError, counted

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["RankError"]


class RankError(BacknormError, RuntimeError):
    """The processes of a group do not fit together, or another one has failed."""

    @classmethod
    def failed(cls, ranks: Sequence[int]) -> RankError:
        """Return the error of this rank where others, which are known, have failed."""
        named = f"rank {ranks[0]}" if len(ranks) == 1 else f"ranks {', '.join(map(str, ranks))}"
        return cls(
            named,
            "a result",
            "an exception",
            "A result needs the data of all ranks, so it is an error on each of them.",
            f"Read the exception of {named}.",
            problem=f"The process group has no result: {named} failed.",
        )

    @classmethod
    def failed_elsewhere(cls, failed: int) -> RankError:
        """Return the error of a pass in which other ranks have raised an exception."""
        return cls(
            "the group",
            "no rank with an error",
            counted(failed, "rank"),
            "Statistics are those of all ranks, so that no rank can go on without the others.",
            "Read the error of the other ranks.",
            problem=f"{counted(failed, 'other rank')} of the group could not compute this pass.",
        )

    @classmethod
    def channels(cls, own: int, least: int, most: int) -> RankError:
        """Return the error of a layer that has another number of channels on another rank."""
        return cls(
            "num_features",
            "be the same on every rank",
            f"{own} here, and from {least} to {most} in the group",
            "Statistics of each channel are those of all ranks.",
            "Build the same model on every rank.",
        )

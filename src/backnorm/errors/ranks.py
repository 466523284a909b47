"""Errors about processes that compute together."""

from __future__ import annotations

from backnorm.errors.base import BacknormError, counted

__all__ = ["RankError"]


class RankError(BacknormError, RuntimeError):
    """The processes of a group do not fit together, or another one has failed."""

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

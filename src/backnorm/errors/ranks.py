"""Errors about processes that compute together."""

from __future__ import annotations

from typing import TYPE_CHECKING

from backnorm.errors.base import BacknormError, counted, short

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
    def pass_failed(cls, error: str) -> RankError:
        """Return the error of merging sums after a pass of this rank has raised an exception."""
        return cls(
            "merge_statistics",
            "passes without an error",
            error,
            "All ranks drop the sums of this step, and the running statistics stay as they were.",
            "Mend the error of the pass.",
            problem="A pass of this rank has failed since the last merge_statistics: "
            f"{short(error)}.",
        )

    @classmethod
    def not_merged(cls, what: str) -> RankError:
        """Return the error of a layer that is used while its running statistics are not current."""
        return cls(
            "SyncBatchNorm",
            "running statistics of all passes",
            "sums that are not merged",
            "Its running statistics lack the passes since the last merge_statistics.",
            "Call backnorm.torch.merge_statistics(model) once a step, on every rank.",
            problem=f"SyncBatchNorm cannot {what}: it has sums that are not merged.",
        )

    @classmethod
    def layers(cls, layers: int, channels: int, bounds: Sequence[tuple[int, int]]) -> RankError:
        """Return the error of models that differ between ranks."""
        (least, most), (fewest, more) = bounds
        return cls(
            "model",
            "have the same synchronized layers, in one order, on every rank",
            f"{counted(layers, 'layer')} with {counted(channels, 'channel')} here, and from "
            f"{least} to {most} layers with {fewest} to {more} channels in the group",
            "Statistics of each channel are those of all ranks.",
            "Build the same model on every rank.",
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

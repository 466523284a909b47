"""Codes W01 and on: what a layer does over several processes is not what it does in one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from backnorm.audit.findings.entry import Entry

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["RANKS"]

RANKS: Final[Mapping[str, Entry]] = {
    "W01": Entry(
        "The ranks have equal weights, whatever the number of their values.",
        "the mean and the variance of all values: a rank weighs as much as it has values",
        (
            "means of the ranks are averaged (pmean, all_reduce divided by the number of ranks)",
            "with masks, each rank divides by its own count before the average",
            "the last batch of an epoch was thought to be cut evenly",
        ),
        "Add up sums and counts over the ranks, and divide afterwards.",
    ),
    "W02": Entry(
        "What the mask hides takes part in the statistics.",
        "the mean and the variance of the values that count",
        (
            "masked values are 0 in the sum of squared deviations: each adds mean^2",
            "the mask is applied to the mean alone, or to y alone",
            "the divisor is the number of all values",
        ),
        "Multiply the squared deviations by the mask too, and divide by the sum of the mask.",
    ),
    "W03": Entry(
        "With a mask the ranks do not synchronize, without a mask they do.",
        "statistics of all ranks in both cases",
        (
            "the branch for masks computes its statistics without a collective",
            "the collective adds up counts that do not know of the mask, and was left out for that",
        ),
        "Add up masked sums and counts over the ranks.",
    ),
    "W04": Entry(
        "The running statistics of a rank are not those of all ranks.",
        "the same running statistics on every rank, those of all values",
        (
            "running statistics are updated before the collective, or without one",
            "DistributedDataParallel copies the buffers of rank 0 to all other ranks",
        ),
        "Update them by the statistics of all ranks, or recalibrate over all ranks before the "
        "checkpoint is saved (update_bn).",
    ),
    "W05": Entry(
        "A rank that has no values makes the others wait for ever.",
        "the result of the other ranks, or an error on every rank",
        (
            "an early return for empty batches skips the collective",
            "an error of the empty rank is raised before the collective",
            "the rank has no gradient, so that the collective of its backward pass never runs",
        ),
        "Enter every collective on every rank, with sums and counts of 0.",
    ),
    "W06": Entry(
        "The statistics of several ranks are not those of all their values.",
        "y of one process that has all values",
        (
            "the variance within the ranks is averaged, without that of their means",
            "only some of the ranks, or of the passes, take part in the collective",
            "a rank without values adds 0/0, or counts as one with values",
        ),
        "Add up the sums of x and of squared deviations, with their counts, over the ranks.",
    ),
    "W07": Entry(
        "The gradient is not that of one process that has all values.",
        "dx of one process; dgamma and dbeta of one process, or such as add up to them",
        (
            "the collective of the forward pass has no gradient (all_reduce outside autograd)",
            "the sums of the backward pass are those of one rank",
            "the sums are divided by the number of values of one rank",
        ),
        "Add up sum(d) and sum(d*x_hat) over the ranks too, and divide by the number of all "
        "values.",
    ),
}

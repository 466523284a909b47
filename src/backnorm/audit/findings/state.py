"""Codes S01 and on: what a layer keeps between calls is wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from backnorm.audit.findings.entry import Entry

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["STATE"]

STATE: Final[Mapping[str, Entry]] = {
    "S01": Entry(
        "The running statistics require a gradient or hold a graph.",
        "statistics that are plain values",
        (
            "they are blended with the batch's statistics without detach or no_grad",
            "they are parameters and not buffers",
        ),
        "Update them under no_grad, or from detached statistics; else every step keeps the last.",
    ),
    "S02": Entry(
        "Training does not change the running statistics, though it normalizes with the batch's.",
        "statistics that move towards those of the batches",
        (
            "the update is missing, or writes to a copy",
            "momentum is 0, or 1 where it weighs the old value",
            "a flag for tracking was switched off after the layer was made",
        ),
        "Update them in training, or leave them out if evaluation is not to have any.",
    ),
    "S03": Entry(
        "One training step changes the running statistics twice.",
        "one update for each step",
        (
            "the forward pass runs twice, as under gradient checkpointing",
            "a wrapper updates them, and so does what it wraps",
            "a hook or a metric calls the layer once more",
        ),
        "Update in one place; where the forward pass is made again, take a weight of "
        "1 - sqrt(1 - weight) for the new statistics.",
    ),
    "S04": Entry(
        "A call in evaluation changes what the layer keeps.",
        "the same state, and the same next call",
        (
            "the update does not look at the flag for training",
            "the flag is read once, when the layer is made",
            "evaluation keeps something that later calls use, such as folded parameters",
        ),
        "Update in training only, and renew what evaluation keeps when training goes on.",
    ),
    "S05": Entry(
        "The running statistics change in the backward pass.",
        "statistics that are up to date after the forward pass",
        (
            "the update stands in the backward pass, as in MXNet",
            "the backward pass runs the forward pass once more",
        ),
        "Update in the forward pass: without a backward pass there is no update now, and with two "
        "there are two.",
    ),
    "S06": Entry(
        "Evaluation does not use the statistics that training left.",
        "evaluation with the running statistics as they are",
        (
            "it uses a copy from before, such as folded parameters that are not renewed",
            "it is updated after it was copied, or under another name",
            "it takes the batch's statistics whatever the flag says",
        ),
        "Let evaluation read what training writes, or renew the copy when the mode changes.",
    ),
}

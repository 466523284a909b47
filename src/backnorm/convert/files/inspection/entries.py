"""The findings that an inspection can make."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["ENTRIES", "FileEntry"]


@dataclass(frozen=True, slots=True)
class FileEntry:
    """A line of the catalog.

    Attributes
    ----------
    what
        What was found, in a sentence.
    expected
        What a right file has.
    fix
        What to do.
    is_note
        Whether it is about what the file cannot tell, and not about a fault: it does not change the
        exit status without ``--strict``.
    """

    what: str
    expected: str
    fix: str
    is_note: bool = False


ENTRIES: Final[Mapping[str, FileEntry]] = {
    "F01": FileEntry(
        "An array of the layer contains NaN or infinity.",
        "finite values",
        "Go back to the last state with finite values: the training diverged, or a value did not "
        "fit in the dtype (float16).",
    ),
    "F02": FileEntry(
        "The running variance is negative.",
        "0 or greater",
        "Check the program that wrote the file, and whether the order of the arrays is right.",
    ),
    "F03": FileEntry(
        "The running statistics are those of a new layer: they were never updated.",
        "statistics of the training data",
        "Train with the layer in training mode, or run some batches through it to fill the "
        "statistics. In eval the layer does not normalize now.",
    ),
    "F04": FileEntry(
        "gamma is 0: the channels have a constant output.",
        "a gamma other than 0",
        "Remove the channels (pruning), or train on: some initializations begin with gamma 0.",
    ),
    "F05": FileEntry(
        "The running variance is below eps: eps, not the variance, decides the output's scale.",
        "a variance above eps",
        "The inputs of the channels are nearly constant. Remove the channels, or check eps; a "
        "conversion to a dialect with another eps changes these channels most.",
    ),
    "F06": FileEntry(
        "The file has no normalization layer, and its convolutions have a bias: if the network has "
        "batch norm, it was folded into them.",
        "a normalization layer behind convolutions",
        "Take a file from before the export or the optimization that folds batch norm.",
    ),
    "F07": FileEntry(
        "The file has no normalization layer that keeps running statistics.",
        "a normalization layer",
        "Check the format (--from-format), and pass the network's file (--net) if there is one. "
        "Layer, group and instance norm keep no statistics.",
    ),
    "F08": FileEntry(
        "The file does not tell options of the layer.",
        "the options in the file",
        "Take them from the program that built the network; backnorm convert sets them by --set.",
        is_note=True,
    ),
    "F09": FileEntry(
        "The file does not tell whose layer it is, and so whether the running variance is biased.",
        "names that tell the framework",
        "Pass --from DIALECT.",
        is_note=True,
    ),
}
"""By code."""

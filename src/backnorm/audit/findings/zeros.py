"""Codes Z01 and on: parameters that are 0 stop the gradient until a first step changes them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from backnorm.audit.findings.entry import Entry

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["ZEROS"]

ZEROS: Final[Mapping[str, Entry]] = {
    "Z01": Entry(
        "gamma is 0: the output is beta, and no gradient reaches the layer's input.",
        "a gamma that is not 0, after the first step",
        (
            "the last gamma of a residual block starts at 0 on purpose (zero_init_last)",
            "the layer was pruned, or weight decay has brought gamma to 0",
        ),
        "None for a model that has not been trained. Remove the layer if it was.",
    ),
    "Z02": Entry(
        "The gradient that arrives is 0, because parameters behind the layer are 0.",
        "a gradient that is not 0, after the first step",
        (
            "the last gamma of this residual block starts at 0 on purpose (zero_init_last)",
            "a factor behind the layer starts at 0, as in ReZero or LayerScale",
        ),
        "None for a model that has not been trained. Look for the zeros if it was.",
    ),
}

"""What the columns of a table of verdicts mean: for `--explain`, and for the page."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["MEANINGS", "to_columns"]

MEANINGS: Final[Mapping[str, str]] = {
    "target": "What was audited; (eval) and (frozen) stand for a layer in evaluation.",
    "kind": "What shares its statistics: batch, layer, group, instance or rms normalization.",
    "mode": "What the forward pass normalizes with: batch, the statistics of x; frozen, constants "
    "as in evaluation; other, something else.",
    "through": "The statistics that the measured gradient goes through: both, mean, variance or "
    "none; unexplained where dx is not a combination of the three paths.",
    "direct": "The share of D in dx. D is the path of x alone, with mean and variance held "
    "constant: 1 is the whole path, 0 none of it.",
    "mean": "The share of M in dx, the path through the mean; - where the kind has no mean.",
    "variance": "The share of V in dx, the path through the variance.",
    "residual": "What the three paths leave of dx, relative to D.",
    "sound": "Whether dx, dgamma and dbeta are the derivative of the layer's own forward pass: "
    "yes, NO, or not judged or not audited, for which a line below gives the reason; forward only "
    "where there is no gradient.",
    "findings": "Codes of what was found. N, R and Z are notes, which do not change the exit "
    "status. backnorm explain CODE says what each means.",
    "expected": "For specimens and controls: whether it got the verdict that it must get.",
}
"""Each column in a sentence or two. A text writes var for variance."""

SHORT: Final[Mapping[str, str]] = {"variance": "var"}


def to_columns(width: int = 100) -> str:
    """Write the meaning of each column of the table.

    Parameters
    ----------
    width
        Columns of the text to fill at most.

    Returns
    -------
    str
        A paragraph for each.
    """
    label = max(map(len, MEANINGS)) + 2
    lines: list[str] = []
    for name, meaning in MEANINGS.items():
        first = SHORT.get(name, name).ljust(label)
        lines += textwrap.wrap(meaning, width, initial_indent=first, subsequent_indent=" " * label)
    return "\n".join(lines) + "\n"

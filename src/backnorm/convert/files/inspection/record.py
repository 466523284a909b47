"""What an inspection returns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["FileFinding", "Inspection", "LayerSummary", "Range"]

Range: TypeAlias = tuple[float, float]
"""The least and the largest value; NaN in both where a value is NaN."""


@dataclass(frozen=True, slots=True)
class LayerSummary:
    """One normalization layer.

    Attributes
    ----------
    name, dialect, channels
        As in the file.
    eps, momentum
        The file's, or else the dialect's default; None where there is no number.
    estimator
        Which estimate the running variance is: "biased" or "unbiased".
    gamma
        The factor of x_hat; None where the layer has no gamma, or one that is fixed at 1.
    mean, var
        The statistics that eval normalizes with. [x], [x]^2
    assumed
        What the file does not tell, and the value that was taken for it.
    """

    name: str
    dialect: str
    channels: int
    eps: float | None
    momentum: float | None
    estimator: str
    gamma: Range | None
    mean: Range
    var: Range
    assumed: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class FileFinding:
    """What was found in a layer, or in the whole file.

    Attributes
    ----------
    code
        A key of `ENTRIES`, which says what it is, what was expected, and what to do.
    layer
        The layer's name; None for the whole file.
    got
        What is there.
    channels
        The channels that it is about; empty where it is about all.
    """

    code: str
    layer: str | None
    got: str
    channels: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Inspection:
    """A whole file.

    Attributes
    ----------
    file, format
        Its name and its format.
    layers
        In the order of the file.
    others
        How many arrays belong to no normalization layer.
    findings
        In the order of the codes' numbers within each layer, those of the file last.
    notes
        What the reader left alone, and what it assumed.
    """

    file: str
    format: str
    layers: tuple[LayerSummary, ...]
    others: int
    findings: tuple[FileFinding, ...]
    notes: tuple[str, ...]

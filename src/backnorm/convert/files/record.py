"""What a model file is to backnorm: normalization layers, and all else."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from backnorm._types import AnyArray

__all__ = ["ModelFile", "NormLayer", "Option"]

Option = bool | float | int | str
"""The value of a layer's option, such as its eps."""


@dataclass(frozen=True, slots=True, eq=False)
class NormLayer:
    """One normalization layer of a file.

    Attributes
    ----------
    name
        What the file calls it.
    dialect
        Whose layer it is, such as "torch".
    state
        Its arrays in the dialect's own names, as they are stored.
    options
        Its options in the dialect's own names, as far as the file tells them.
    """

    name: str
    dialect: str
    state: Mapping[str, AnyArray]
    options: Mapping[str, Option] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class ModelFile:
    """A whole model file.

    Attributes
    ----------
    path
        Where it was read from, or is meant to go.
    format
        Its format, such as "safetensors".
    layers
        The normalization layers, in the order of the file.
    others
        All other arrays, by the file's names for them.
    notes
        What was left alone, and what was taken for granted because the file does not tell it.
    """

    path: Path
    format: str
    layers: tuple[NormLayer, ...]
    others: Mapping[str, AnyArray] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    content: object = field(default=None, repr=False)
    """What the format's own writer needs to carry the rest through; None for a new file."""

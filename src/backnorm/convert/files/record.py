"""A model file as backnorm sees it: normalization layers, and all other arrays."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

from backnorm.dialects import row_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from backnorm._types import AnyArray

__all__ = ["FileOption", "ModelFile", "NormLayer"]

FileOption: TypeAlias = bool | float | int | str
"""The value of a layer's option as a file holds it, such as eps."""


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
    options: Mapping[str, FileOption] = field(default_factory=dict)

    @property
    def channels(self) -> int:
        """The number of channels: what the running variance has values for."""
        (name,) = (array.name for array in row_of(self.dialect).arrays.known if array.role == "var")
        return self.state[name].size


@dataclass(frozen=True, slots=True, eq=False)
class ModelFile:
    """A whole model file.

    Attributes
    ----------
    path
        Where it was read from, or where it will be written.
    format
        Its format, such as "safetensors".
    layers
        The normalization layers, in the order of the file.
    others
        All other arrays, by the file's names for them.
    notes
        What was left alone, and what was assumed because the file does not tell it.
    """

    path: Path
    format: str
    layers: tuple[NormLayer, ...]
    others: Mapping[str, AnyArray] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    content: object = field(default=None, repr=False)
    """What the format's writer needs to carry everything else; None for a new file."""

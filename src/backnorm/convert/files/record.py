"""A model file as backnorm sees it: normalization layers, and all other arrays."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

from backnorm._display import Displayed
from backnorm.dialects import row_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from backnorm._types import AnyArray

__all__ = [
    "ESTIMATOR",
    "FileOption",
    "LayerFold",
    "LayerKernel",
    "ModelFile",
    "NormLayer",
    "Setting",
]

ESTIMATOR = "estimator"
"""In `NormLayer.untold`: whether the running variance is biased."""

FileOption: TypeAlias = bool | float | int | str
"""The value of a layer's option as a file holds it, such as eps."""


Setting: TypeAlias = tuple[str, str, FileOption]
"""A pattern for the names of layers, an option in the dialect's name, and its value."""


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
    untold: tuple[str, ...] = ()
    """The options that the file does not tell, and `ESTIMATOR` where layers of several frameworks
    look alike; what is assumed for them is in `options`, or else the dialect's default."""

    @property
    def channels(self) -> int:
        """The number of channels: what the running variance has values for."""
        (name,) = (array.name for array in row_of(self.dialect).arrays.known if array.role == "var")
        return self.state[name].size


@dataclass(frozen=True, slots=True)
class LayerKernel:
    """The weight of one convolution or dense layer, which is among the other arrays.

    Attributes
    ----------
    name
        The layer.
    kind
        "conv", "depthwise", "transposed" or "dense"; "other" if the caller says that it is not a
        kernel.
    weight
        The name of its array in `ModelFile.others`.
    layout
        The order of its axes, as `naming/_layouts.py` writes it: O output channels, I input
        channels, M output channels of each input channel, S all spatial axes, R the same in
        reverse.
    bias
        The name of the bias in `ModelFile.others`; empty if the layer has no bias.
    channels
        How long I is, where an axis holds I and others: the channels of the map that was flattened
        before a dense layer, and those that a depthwise layer reads. None if that is not told.
    groups
        The groups of channels of a convolution; None if that is not told.
    told
        Whether the file tells the kind; False if it follows from names and shapes alone.
    """

    name: str
    kind: str
    weight: str
    layout: str
    bias: str = ""
    channels: int | None = None
    groups: int | None = None
    told: bool = True


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class ModelFile(Displayed):
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
    kernels
        Which of the other arrays are weights of convolutions and dense layers, as far as the
        file tells.
    """

    path: Path
    format: str
    layers: tuple[NormLayer, ...]
    others: Mapping[str, AnyArray] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    content: object = field(default=None, repr=False)
    """What the format's writer needs to carry everything else; None for a new file."""
    kernels: tuple[LayerKernel, ...] = ()
    ordered: bool = True
    """Whether layers and kernels are in the order of the network; not where the format sorts them,
    or the program that wrote the file may have."""
    folded: str = ""
    """Why the reader takes batch norm to be folded into other layers; usually nothing."""
    order: tuple[str, ...] = ()
    """The names of all arrays in the order of the file, where that is the order of the network; a
    new file gets this order."""
    about: tuple[tuple[str, str], ...] = ()
    """Those of the notes that are about one array: its name, and a sentence."""
    beside: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    """The files that are written beside it, by the endings of their names: the network's
    description, if that has changed too."""


@dataclass(frozen=True, slots=True, eq=False)
class LayerFold:
    """Into which layer a norm was folded, or why it is left as it was.

    Attributes
    ----------
    name, source
        The norm, and its dialect.
    channels
        The number of its channels.
    into
        The convolution or dense layer that now computes it; empty if the norm is left.
    why_left
        The reason if it is left; else empty.
    assumed
        What the source's file does not tell and the folded values depend on, and the value that
        was taken for it.
    """

    name: str
    source: str
    channels: int
    into: str = ""
    why_left: str = ""
    assumed: Mapping[str, object] = field(default_factory=dict)

"""Whether a layer of Keras 3 has gamma and beta, where its arrays are numbered and not named."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from backnorm.convert.files._notes import grouped
from backnorm.convert.files.untold import setting_of
from backnorm.errors import FileError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from backnorm.convert.files._budget import Source
    from backnorm.convert.files.record import FileOption, NormLayer

__all__ = ["FIELDS", "affine", "doubts_about"]

FIELDS: Final = ("gamma", "beta", "moving_mean", "moving_variance")
"""The order in which Keras 3 numbers a layer's variables; it skips those that the layer lacks."""

DOUBT: Final = (
    "the array that --set takes as gamma has many negative values, as beta has; if the layer has "
    "beta, pass --set '*.scale=false'"
)

FEW_NEGATIVE: Final = 0.25
"""Of the values of a gamma: training begins with gamma 1, and with beta 0, half of whose values it
makes negative."""


def affine(source: Source, layer: str, names: Collection[str]) -> dict[str, FileOption]:
    """Return whether a layer has gamma and beta, by how many arrays it has, or by the caller.

    Parameters
    ----------
    source
        The file, with what the caller says.
    layer
        The group of the layer.
    names
        Of all arrays.

    Returns
    -------
    dict
        scale and center.

    Raises
    ------
    FileError
        If one array may be gamma or beta, and the caller does not say which.
    """
    count = sum(f"{layer}/vars/{index}" in names for index in range(len(FIELDS) + 1))
    if count != len(FIELDS) - 1:
        return dict.fromkeys(("scale", "center"), count == len(FIELDS))
    scale = setting_of(source.settings, layer, "scale")
    center = setting_of(source.settings, layer, "center")
    if scale is None and center is None:
        raise FileError.gamma_or_beta(source.path.name, layer)
    has_gamma = not center if scale is None else bool(scale)
    return {"scale": has_gamma, "center": not has_gamma}


def doubts_about(layers: Iterable[NormLayer]) -> tuple[str, ...]:
    """Return notes about arrays that the caller says are gamma, and that look like beta."""
    return grouped((layer.name, DOUBT) for layer in layers if _looks_like_beta(layer))


def _looks_like_beta(layer: NormLayer) -> bool:
    if len(layer.state) != len(FIELDS) - 1 or "gamma" not in layer.state:
        return False
    return bool(np.mean(layer.state["gamma"] < 0) > FEW_NEGATIVE)

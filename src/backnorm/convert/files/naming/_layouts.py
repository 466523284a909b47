"""The orders in which frameworks keep the axes of a kernel, and how one order becomes another.

A layout has a letter for each axis: O output channels, I input channels, M output channels of each
input channel, 1 an axis of length 1, S all spatial axes, R the same in reverse. Letters in
parentheses share one axis. A dense layer after a Flatten reads a map: S and I share its axis, and
Keras and Flax flatten channels last, all others channels first.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from backnorm._types import AnyArray

__all__ = ["LAYOUTS", "family_of", "lengths_of", "relaid", "rows_of", "words_of"]

_CHANNELS_FIRST: Final = {
    "conv": "OIS",
    "depthwise": "(IM)1S",
    "transposed": "IOS",
    "dense": "O(IS)",
}

LAYOUTS: Final[Mapping[str, Mapping[str, str]]] = {
    "torch": _CHANNELS_FIRST,
    "caffe": _CHANNELS_FIRST,
    "mxnet": _CHANNELS_FIRST,
    "onnx": _CHANNELS_FIRST,  # dense: Gemm with transB=1, as PyTorch exports it
    "keras": {"conv": "SIO", "depthwise": "SIM", "transposed": "SOI", "dense": "(SI)O"},
    # linen's and nnx's ConvTranspose does not mirror its kernel: transpose_kernel is False.
    "flax": {"conv": "SIO", "depthwise": "S1(IM)", "transposed": "RIO", "dense": "(SI)O"},
}
"""By family of dialects and kind of layer. tests/with_frameworks/test_kernels.py runs them."""

WORDS: Final = {
    "O": "out",
    "I": "in",
    "M": "multiplier",
    "1": "1",
    "S": "spatial",
    "R": "mirrored spatial",
}


def family_of(dialect: str) -> str:
    """Return whose kernels a dialect's networks have: "onnx" for "onnx-15"."""
    return dialect.partition("-")[0]


def words_of(layout: str) -> str:
    """Write a layout for people: "(out, in*spatial)"."""
    return f"({', '.join('*'.join(WORDS[letter] for letter in axis) for axis in _axes(layout))})"


def rows_of(layout: str) -> str:
    """Return how the channels and positions of a flattened map share an axis: "IS", "SI" or ""."""
    return next((axis for axis in _axes(layout) if set(axis) == {"I", "S"}), "")


def relaid(array: AnyArray, before: str, after: str, channels: int | None) -> AnyArray:
    """Return a kernel with its axes in another order.

    Parameters
    ----------
    array
        The kernel.
    before, after
        Its layout, and the one to give it.
    channels
        How long I is; needed where it shares an axis.

    Returns
    -------
    numpy.ndarray
        The same values.
    """
    lengths = lengths_of(array.shape, before, channels) or {}
    letters = [letter for axis in _axes(before) for letter in axis if letter != "1"]
    names = [name for letter in letters for name in _names(letter, lengths)]
    plain = array.reshape([lengths[name] for name in names])
    mirrored = ("R" in before) != ("R" in after)
    if mirrored:
        plain = np.flip(plain, tuple(at for at, name in enumerate(names) if name[0] == "S"))
    axes = [[n for letter in axis for n in _names(letter, lengths)] for axis in _axes(after)]
    order = [names.index(name) for axis in axes for name in axis if name != "1"]
    shape = [
        length
        for letters_, names_ in zip(_axes(after), axes, strict=True)
        for length in _merged(letters_, [lengths.get(name, 1) for name in names_])
    ]
    return np.ascontiguousarray(plain.transpose(order)).reshape(shape)


def lengths_of(shape: tuple[int, ...], layout: str, channels: int | None) -> dict[str, int] | None:
    """Return how long each axis is that a letter stands for.

    Parameters
    ----------
    shape
        Of the kernel.
    layout
        Its layout.
    channels
        How long I is, where it shares an axis; None if all of that axis is I.

    Returns
    -------
    dict or None
        By letters; S0, S1 and so on for S and R. None if the shape is not of that layout.
    """
    parts = _axes(layout)
    several = [at for at, part in enumerate(parts) if part in {"S", "R"}]
    spatial = len(shape) - len(parts) + len(several)
    if spatial < len(several) or (spatial and not several):
        return None
    lengths: dict[str, int] = {}
    ends = iter(shape)
    for part in parts:
        if part in {"S", "R"}:
            lengths |= {f"S{index}": next(ends) for index in range(spatial)}
        elif not _share(part, next(ends), channels, lengths):
            return None
    return lengths


def _share(part: str, length: int, channels: int | None, lengths: dict[str, int]) -> bool:
    """Divide the length of one axis among its letters, and return whether that can be."""
    if part == "1":
        return length == 1
    if len(part) == 1:
        lengths[part] = length
        return True
    own = length if channels is None else channels
    (other,) = set(part) - {"I"}
    lengths |= {"I": own, "S0" if other == "S" else other: length // own if own else 0}
    return own > 0 and length % own == 0


def _axes(layout: str) -> list[str]:
    return [axis.strip("()") for axis in re.findall(r"\(\w+\)|\w", layout)]


def _names(letter: str, lengths: Mapping[str, int]) -> list[str]:
    """Return the axes that a letter stands for: S0, S1, ... for S and R."""
    if letter in {"S", "R"}:
        return [name for name in lengths if name[0] == "S"]
    return [letter]


def _merged(letters: str, lengths: list[int]) -> list[int]:
    """Return the axes of the array: one for letters in parentheses, else one for each length."""
    return [math.prod(lengths)] if len(letters) > 1 else lengths

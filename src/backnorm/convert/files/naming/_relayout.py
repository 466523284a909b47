"""Kernels in the order of axes that the target's framework has, with a note about each."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from backnorm.convert.files._notes import with_notes_about
from backnorm.convert.files.naming._layouts import (
    LAYOUTS,
    family_of,
    lengths_of,
    relaid,
    rows_of,
    words_of,
)
from backnorm.convert.files.naming._told import OTHER, layer_of
from backnorm.convert.files.naming._training import in_training
from backnorm.errors import KernelError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from backnorm._types import AnyArray
    from backnorm.convert.files.record import LayerKernel, ModelFile

__all__ = ["UNTOLD", "with_layouts"]

PLURALS: Final = {
    "conv": "a convolution's kernel",
    "depthwise": "a depthwise convolution's kernel",
    "transposed": "a transposed convolution's kernel",
    "dense": "a dense layer's kernel",
}

DOUBTFUL: Final = ", taken as {} by its name and shape, which do not tell a transposed one"

ORDERS: Final = {"SI": "(*spatial, channels)", "IS": "(channels, *spatial)"}

GROUPED: Final = (
    "a transposed convolution in groups, which the target's framework lacks; it is carried as it is"
)

UNTOLD: Final = "the file does not tell what this is; it is carried with its axes as they are"

FEWEST_AXES: Final = 2
"""Of an array whose axes can be in another order."""


def with_layouts(model: ModelFile, dialect: str) -> ModelFile:
    """Give the kernels the layouts of a framework.

    Parameters
    ----------
    model
        What was read.
    dialect
        The target's.

    Returns
    -------
    ModelFile
        With these kernels. Its notes say what was transposed, and what was not although the
        frameworks differ, since the file does not tell what it is.

    Raises
    ------
    KernelError
        If the values would silently be in a wrong order: a dense layer that may read a flattened
        map, or a square matrix that may be a kernel.
    """
    wanted = LAYOUTS[family_of(dialect)]
    _check_squares(model, wanted)
    _check_flattened(model, wanted)
    others = dict(model.others)
    kernels, notes = [], []
    for kernel in model.kernels:
        array = others[kernel.weight]
        if lengths_of(array.shape, kernel.layout, kernel.channels) is None:
            continue
        before, after = kernel.layout, wanted[kernel.kind]
        if kernel.kind == "transposed" and (kernel.groups or 1) > 1 and before != after:
            notes.append((kernel.weight, GROUPED))
            continue
        if rows_of(before) != rows_of(after) and kernel.channels is None:
            before, after = (layout.replace("S", "") for layout in (before, after))
        elif rows_of(before) != rows_of(after) and kernel.channels != _rows(array, kernel):
            notes.append((kernel.weight, _rows_moved(before, after)))
        if before != after:
            others[kernel.weight] = relaid(array, before, after, kernel.channels)
            notes.append((kernel.weight, _transposed(kernel, before, after)))
        if kernel.bias:
            others[kernel.bias] = others[kernel.bias].reshape(-1)
        kernels.append(replace(kernel, layout=after))
    unknown = _unknown(model, wanted, {kernel.weight for kernel in kernels})
    notes += [(name, UNTOLD) for name in unknown]
    relaid_model = replace(model, others=others, kernels=tuple(kernels), order=(), notes=())
    return with_notes_about(relaid_model, notes)


def _transposed(kernel: LayerKernel, before: str, after: str) -> str:
    doubt = "" if kernel.told or kernel.kind != "conv" else DOUBTFUL.format("a convolution's")
    return f"{PLURALS[kernel.kind]}{doubt}, transposed from {words_of(before)} to {words_of(after)}"


def _rows(array: AnyArray, kernel: LayerKernel) -> int:
    """Return how many inputs a dense layer has."""
    lengths = lengths_of(array.shape, kernel.layout, kernel.channels)
    return math.prod(n for name, n in (lengths or {}).items() if name != "O")


def _rows_moved(before: str, after: str) -> str:
    return (
        f"its inputs are a flattened map, and were put from the order {ORDERS[rows_of(before)]} "
        f"into {ORDERS[rows_of(after)]}"
    )


def _check_flattened(model: ModelFile, wanted: Mapping[str, str]) -> None:
    """Refuse dense layers whose rows may have to be put into another order."""
    doubtful = {}
    for kernel in model.kernels:
        if kernel.kind == "dense" and kernel.channels is None:
            rows = _rows(model.others[kernel.weight], kernel)
            if rows_of(kernel.layout) != rows_of(wanted["dense"]) and not _one_order(rows):
                doubtful[kernel.name] = rows
    if doubtful:
        raise KernelError.flattened(Path(model.path).name, doubtful)


def _one_order(rows: int) -> bool:
    """Return whether all maps of so many values have one position, or one channel."""
    return all(rows % channels for channels in range(2, math.isqrt(rows) + 1))


def _check_squares(model: ModelFile, wanted: Mapping[str, str]) -> None:
    """Refuse what may be a dense layer's kernel, and has the same shape if it is transposed."""
    known = {kernel.weight for kernel in model.kernels}
    unknown = _unknown(model, wanted, known)
    names = [layer_of(model, name) for name in unknown if _is_square(model.others[name])]
    if names:
        raise KernelError.square(Path(model.path).name, names)


def _is_square(array: AnyArray) -> bool:
    return array.ndim == FEWEST_AXES and array.shape[0] == array.shape[1] > 1


def _unknown(model: ModelFile, wanted: Mapping[str, str], known: Collection[str]) -> Iterator[str]:
    """Yield the arrays that could be kernels in another order."""
    families = {family_of(layer.dialect) for layer in model.layers}
    if any(LAYOUTS.get(family) is not wanted for family in families):
        told = {kernel.weight for kernel in model.kernels if kernel.kind == OTHER}
        for name, array in model.others.items():
            untold = name not in told and name not in known
            if untold and array.ndim >= FEWEST_AXES and not in_training(name):
                yield name

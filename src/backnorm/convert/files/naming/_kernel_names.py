"""The names that a new file gives kernels, so that whoever reads it knows them again."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from backnorm.convert.files._arrays import shapes_of
from backnorm.convert.files._flat_kernels import KERNEL_SPELLINGS, kernels_by_name
from backnorm.convert.files._holds import distinct
from backnorm.convert.files._notes import with_notes_about
from backnorm.convert.files.naming._layouts import family_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from backnorm.convert.files.record import LayerKernel, ModelFile

__all__ = ["with_kernel_names"]

SEPARABLE: Final = ["conv", "depthwise"]
"""The kinds of the two kernels that Keras's SeparableConv2D has."""


def with_kernel_names(model: ModelFile, before: str) -> ModelFile:
    """Name the kernels as their framework does.

    A kernel that was transposed must not keep a name by which it is taken for another array: its
    axes would stay as they are on the way back.

    Parameters
    ----------
    model
        With layers of the target's dialect, and kernels in its layouts.
    before
        The family of the dialect that it was converted from.

    Returns
    -------
    ModelFile
        With these names, in the same order.

    Raises
    ------
    FileError
        If two arrays would get one name.
    """
    family = family_of(model.layers[0].dialect)
    known = _recognized(model) if family == before else set()
    names: dict[str, str] = {}
    for kernel in model.kernels:
        if kernel.weight not in known and kernel.weight not in names:
            names = {**dict(_names(family, kernel, _namesakes(model, kernel))), **names}
    named = _renamed(model, names)
    unknown = {kernel.weight for kernel in named.kernels} - _recognized(named)
    marks = {
        kernel.weight: KERNEL_SPELLINGS[family][0].weight_of(kernel.name, f"{kernel.kind}_")
        for kernel in named.kernels
        if kernel.weight in unknown and f"{kernel.kind}_" in KERNEL_SPELLINGS[family][0].prefixes
    }
    return _renamed(named, marks)


def _namesakes(model: ModelFile, kernel: LayerKernel) -> list[str]:
    """Return the kinds of all kernels of a layer."""
    return sorted(other.kind for other in model.kernels if other.name == kernel.name)


def _names(family: str, kernel: LayerKernel, kinds: list[str]) -> Iterator[tuple[str, str]]:
    """Yield old and new names of a kernel and of its bias."""
    spelling = KERNEL_SPELLINGS[family][0]
    layer, prefix = kernel.name, ""
    if kinds == SEPARABLE:
        prefix = "depthwise_" if kernel.kind == "depthwise" else "pointwise_"
    elif len(kinds) > 1:
        layer = kernel.weight
    elif family == "keras" and kernel.kind == "depthwise":
        prefix = "depthwise_"
    yield kernel.weight, spelling.weight_of(layer, prefix)
    if kernel.bias:
        yield kernel.bias, spelling.bias_of(layer)


def _recognized(model: ModelFile) -> set[str]:
    """Return the kernels that a reader of the names takes for what they are.

    A transposed convolution of Keras, or a depthwise one of Flax, may pass for a convolution, whose
    axes become those of PyTorch in the same way.
    """
    found = {k.weight: k for k in kernels_by_name(model.layers, shapes_of(model.others))}
    return {
        kernel.weight
        for kernel in model.kernels
        if kernel.weight in found and _alike(kernel, found[kernel.weight])
    }


def _alike(kernel: LayerKernel, found: LayerKernel) -> bool:
    same = kernel.kind == found.kind or "R" not in kernel.layout + found.layout
    return same and kernel.bias == found.bias


def _renamed(model: ModelFile, names: Mapping[str, str]) -> ModelFile:
    pairs = ((names.get(name, name), array) for name, array in model.others.items())
    others = distinct(Path(model.path).name, pairs)
    kernels = tuple(
        replace(
            kernel,
            weight=names.get(kernel.weight, kernel.weight),
            bias=names.get(kernel.bias, kernel.bias),
        )
        for kernel in model.kernels
    )
    noted = with_notes_about(model, ((names.get(name, name), why) for name, why in model.about))
    return replace(noted, others=others, kernels=kernels)

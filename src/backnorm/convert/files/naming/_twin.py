"""What a file that is written takes over from the file whose names it gets, besides the names."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from backnorm.convert.files._arrays import without
from backnorm.convert.files._flat import options_by
from backnorm.convert.files._notes import few, with_notes_about
from backnorm.convert.files.naming._training import in_training
from backnorm.convert.files.registry import format_of
from backnorm.convert.files.untold import same_value
from backnorm.dialects import row_of
from backnorm.errors import ArrayNameError
from backnorm.errors.base import counted

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from backnorm.convert.files.record import ModelFile, NormLayer

__all__ = ["filled", "into_twin", "without_neutral", "without_numbers", "without_training"]

NEUTRAL: Final = {"gamma": 1.0, "beta": 0.0, "count": 0.0}
"""By an array's role, the value that changes no output in eval."""


def without_training(model: ModelFile) -> tuple[ModelFile, tuple[str, ...]]:
    """Leave out the state of optimizers and random generators, and say how many arrays that is."""
    names = [name for name in model.others if in_training(name)]
    if not names:
        return model, ()
    arrays = f"{counted(len(names), 'array')} {'is' if len(names) == 1 else 'are'}"
    return _lacking(model, names), (
        f"{arrays} left out, of an optimizer or a random generator: {few(names)}",
    )


def without_numbers(model: ModelFile, like: ModelFile) -> tuple[ModelFile, tuple[str, ...]]:
    """Leave out what nodes of an ONNX graph read as axes and shapes, unless both files have it."""
    there = {array.shape for array in like.others.values() if array.dtype == np.int64}
    names = [
        name
        for name, array in model.others.items()
        if array.dtype == np.int64 and array.ndim <= 1 and array.shape not in there
    ]
    if not names:
        return model, ()
    why = (
        "left out, since they are whole numbers of 64 bits, such as the axes that a node of ONNX "
        f"reads, and {Path(like.path).name} lacks arrays like them"
    )
    return _lacking(model, names), (f"{few(names)}: {why}",)


def _lacking(model: ModelFile, names: Collection[str]) -> ModelFile:
    """Return a model without some of its other arrays."""
    return replace(
        with_notes_about(model, (pair for pair in model.about if pair[0] not in names)),
        others=without(model.others, names),
        kernels=tuple(kernel for kernel in model.kernels if kernel.weight not in names),
        order=tuple(name for name in model.order if name not in names),
    )


def without_neutral(layer: NormLayer, to: NormLayer) -> tuple[NormLayer, list[tuple[str, str]]]:
    """Leave out a gamma of ones and a beta of zeros that a layer of another file lacks."""
    roles = _roles(layer)
    neutral = {
        name: NEUTRAL[roles[name]]
        for name, array in layer.state.items()
        if name not in to.state and np.all(array == NEUTRAL.get(roles[name]))
    }
    if not neutral:
        return layer, []
    state = {name: array for name, array in layer.state.items() if name not in neutral}
    options = {**layer.options, **options_by(layer.dialect, state)}
    notes = [
        (layer.name, f"{name} is left out, since all its values are {value:g}")
        for name, value in neutral.items()
    ]
    return replace(layer, state=state, options=options), notes


def filled(other: str, layer: NormLayer, to: NormLayer) -> tuple[NormLayer, list[tuple[str, str]]]:
    """Add the arrays that a layer of another file has and that change no output."""
    roles = _roles(layer)
    lacking = {name: NEUTRAL.get(roles[name]) for name in to.state if name not in layer.state}
    if None in lacking.values():
        raise ArrayNameError.other_arrays(other, layer.name, list(layer.state), list(to.state))
    new = {name: np.full_like(to.state[name], value) for name, value in lacking.items()}
    whole = {**layer.state, **new}
    notes = [(layer.name, f"{name} is filled with {value:g}") for name, value in lacking.items()]
    return replace(layer, state={name: whole[name] for name in to.state}), notes


def _roles(layer: NormLayer) -> Mapping[str, str]:
    return {array.name: array.role for array in row_of(layer.dialect).arrays.known}


def into_twin(model: ModelFile, like: ModelFile) -> ModelFile:
    """Write over a copy of the other file, where the format keeps more in it than arrays.

    Parameters
    ----------
    model
        What will be written, under the names of the other file.
    like
        The other file.

    Returns
    -------
    ModelFile
        With the content of the other file, or without, in the order of the other file.

    Raises
    ------
    ArrayNameError
        If the network in the other file has layers with another eps.
    """
    kind = format_of(Path(model.path), model.format)
    if model.content is not None or model.format != like.format or kind.fill is None:
        return model if model.content is not None else replace(model, order=like.order)
    theirs = {layer.name: layer for layer in like.layers}
    for layer in model.layers:
        eps, to = row_of(layer.dialect).eps.known, theirs[layer.name]
        values = [one.options.get(str(eps.name), eps.default) for one in (layer, to)]
        if eps.name not in to.untold and not same_value(*values):
            file = Path(like.path).name
            raise ArrayNameError.other_eps(file, layer.name, str(eps.name), *values)
    return replace(model, content=kind.fill(like, model.others.keys()))

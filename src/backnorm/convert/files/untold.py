"""What a file does not tell of its layers: which options those are, and what the caller says."""

from __future__ import annotations

import fnmatch
import math
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from backnorm.convert.files._notes import grouped
from backnorm.convert.files.record import ESTIMATOR
from backnorm.dialects import DIALECTS, row_of
from backnorm.dialects.settings import options_of
from backnorm.errors import FileError, UnknownNameError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from backnorm.convert.files.record import FileOption, ModelFile, NormLayer, Setting

__all__ = [
    "assumed_of",
    "check_settings",
    "same_value",
    "setting_of",
    "untold_of",
    "with_dialect",
    "with_options",
]


def untold_of(dialect: str, state: Iterable[str], *, alone: bool = False) -> tuple[str, ...]:
    """Return what arrays alone do not tell of a layer.

    Parameters
    ----------
    dialect
        Whose layer it is.
    state
        The names of its arrays.
    alone
        Whether the format is for this dialect alone, and so tells the estimator.

    Returns
    -------
    tuple of str
        The options for eps, momentum and a fixed gamma; and `ESTIMATOR` if the arrays could belong
        to a dialect whose running variance is another.
    """
    row = row_of(dialect)
    options = [option.known.name for option in (row.eps, row.momentum, row.fixed_gamma)]
    alike = [] if alone else _alike(state)
    several = len({row_of(name).running_var.known for name in alike}) > 1
    return (*filter(None, options), *([ESTIMATOR] * several))


def assumed_of(layer: NormLayer) -> dict[str, object]:
    """Return what is assumed for a layer in place of what its file does not tell."""
    row = row_of(layer.dialect)
    defaults = {name: option.default for name, option in options_of(row).items()}
    values = {**defaults, **layer.options, ESTIMATOR: row.running_var.known}
    return {name: values[name] for name in layer.untold}


def _alike(state: Iterable[str]) -> list[str]:
    """Return the dialects whose layers have arrays of these names."""
    names = set(state)
    arrays = {other: {array.name for array in row_of(other).arrays.known} for other in DIALECTS}
    return [other for other in DIALECTS if names <= arrays[other]]


def setting_of(settings: Iterable[Setting], layer: str, option: str) -> FileOption | None:
    """Return what the caller says of an option of a layer; None if nothing, later ones win."""
    said = [
        value
        for pattern, name, value in settings
        if name == option and fnmatch.fnmatchcase(layer, pattern)
    ]
    return said[-1] if said else None


def same_value(told: object, value: object) -> bool:
    """Return whether two values of an option are the same, as float32 tells them apart.

    ONNX and Caffe keep float32.
    """
    if isinstance(told, float) and isinstance(value, float):
        return math.isclose(told, value, rel_tol=float(np.finfo(np.float32).eps))
    return told == value


def check_settings(file: str, settings: Sequence[Setting]) -> None:
    """Refuse a setting that has no effect, since a later one fits each layer that it names.

    Parameters
    ----------
    file
        What they are said of.
    settings
        Pattern for the layers' names, option, value. The same pattern may come twice.

    Raises
    ------
    FileError
        If a later pattern with another value matches the pattern of an earlier setting.
    """
    for index, first in enumerate(settings):
        for later in settings[index + 1 :]:
            told = [(option, type(value), value) for _, option, value in (first, later)]
            if first[1] == later[1] and told[0] != told[1] and _wider(first[0], later[0]):
                raise FileError.hidden_setting(file, first, later)


def _wider(pattern: str, other: str) -> bool:
    """Return whether another pattern fits all names that a pattern fits, and is not the same.

    A text that takes the place of each asterisk, and is too long for question marks, says so.
    """
    long = "\0" * (len(other) + 1)
    text = pattern.replace("*", long)
    return pattern != other and "[" not in pattern and fnmatch.fnmatchcase(text, other)


def _told(layer: NormLayer, name: str) -> NormLayer:
    return replace(layer, untold=tuple(untold for untold in layer.untold if untold != name))


def with_options(model: ModelFile, settings: Sequence[Setting]) -> ModelFile:
    """Set options of layers that their file does not tell, such as eps.

    An option that says which arrays a layer has, such as Keras's scale, follows from the arrays:
    it decides how `read` reads Keras's ``.weights.h5``, and is left as it is here. It is refused if
    it contradicts the arrays of every layer that the pattern fits.

    Parameters
    ----------
    model
        What was read.
    settings
        Pattern for the layers' names, option in the dialect's name, value; later ones win.

    Returns
    -------
    ModelFile
        With these options.

    Raises
    ------
    FileError
        If a pattern fits no layer, a value contradicts the arrays, or a setting has no effect,
        since a later pattern fits the same layers.

    Examples
    --------
    >>> import numpy as np
    >>> from backnorm.convert import files
    >>> c = np.ones(3, np.float32)
    >>> layer = files.NormLayer("bn", "torch", {"running_mean": c, "running_var": c})
    >>> model = files.ModelFile("b.npz", "npz", (layer,))
    >>> files.with_options(model, [("b*", "eps", 1e-3)]).layers[0].options
    {'eps': 0.001}
    """
    check_settings(Path(model.path).name, settings)
    layers = list(model.layers)
    for pattern, option, value in settings:
        fits = [fnmatch.fnmatchcase(layer.name, pattern) for layer in layers]
        if not any(fits):
            names = [layer.name for layer in layers]
            raise FileError.unknown_layer(Path(model.path).name, pattern, names)
        fitting = [layer for layer, fit in zip(layers, fits, strict=True) if fit]
        if all(_contradicts(layer, option, value) for layer in fitting):
            first, file = fitting[0], Path(model.path).name
            raise FileError.contradicted(file, first.name, option, value, list(first.state))
        layers = [
            _told(replace(layer, options={**layer.options, option: value}), option)
            if fit and option not in _of_arrays(layer.dialect)
            else layer
            for layer, fit in zip(layers, fits, strict=True)
        ]
    notes = grouped(
        note for pair in zip(model.layers, layers, strict=True) for note in _replaced(*pair)
    )
    return replace(model, layers=tuple(layers), notes=(*model.notes, *notes))


def _replaced(before: NormLayer, after: NormLayer) -> Iterator[tuple[str, str]]:
    """Yield a note about each option that was set to another value than the file tells."""
    for option, value in after.options.items():
        told = before.options.get(option)
        if told is not None and option not in before.untold and not same_value(told, value):
            yield after.name, f"{option} is set to {value} in place of {told}, which the file tells"


def _contradicts(layer: NormLayer, option: str, value: FileOption) -> bool:
    """Return whether an option says that a layer lacks an array that it has, or has another."""
    told = layer.options.get(option)
    return option in _of_arrays(layer.dialect) and isinstance(told, bool) and told != value


def _of_arrays(dialect: str) -> set[str | None]:
    """Return the options that say which arrays a layer has."""
    row = row_of(dialect)
    return {option.name for option in (*row.gamma_options.known, *row.beta_options.known)}


def with_dialect(model: ModelFile, dialect: str) -> ModelFile:
    """Set the dialect of the layers, where files of several dialects look alike.

    MXNet's files are the same whether cuDNN has trained the model, which keeps the unbiased
    variance, or not.

    Parameters
    ----------
    model
        What was read.
    dialect
        Another dialect, whose arrays have the same names.

    Returns
    -------
    ModelFile
        With layers of that dialect.

    Raises
    ------
    UnknownNameError
        If the dialect does not exist, or its arrays have other names.

    Examples
    --------
    >>> import numpy as np
    >>> from backnorm.convert import files
    >>> c = np.ones(3, np.float32)
    >>> state = {"gamma": c, "beta": c, "moving_mean": c, "moving_var": c}
    >>> layer = files.NormLayer("bn", "mxnet", state, {"fix_gamma": False})
    >>> model = files.ModelFile("b.npz", "npz", (layer,))
    >>> model = files.with_dialect(model, "mxnet-cudnn")
    >>> converted, changes = files.convert_model(model, "t.npz", "torch")  # unbiased, both
    >>> changes[0].losses
    ()
    """
    row = row_of(dialect)
    layers = []
    for layer in model.layers:
        alike = _alike(layer.state)
        if dialect not in alike:
            whose = f"the dialect of layer {layer.name}"
            raise UnknownNameError.choice(whose, dialect, alike)
        known = options_of(row)
        options = {name: value for name, value in layer.options.items() if name in known}
        untold = tuple(name for name in layer.untold if name in known)
        layers.append(replace(layer, dialect=dialect, options=options, untold=untold))
    return replace(model, layers=tuple(layers))

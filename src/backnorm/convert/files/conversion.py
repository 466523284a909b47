"""Convert the normalization layers of a whole model from one dialect to another."""

from __future__ import annotations

import fnmatch
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final, SupportsIndex

import numpy as np

from backnorm.convert.conversion import convert_state
from backnorm.convert.files.record import ModelFile, NormLayer
from backnorm.convert.files.registry import format_of
from backnorm.dialects import DIALECTS, BatchNorm, row_of
from backnorm.dialects.settings import options_of
from backnorm.errors import BacknormError, ConversionError, FileError, UnknownNameError

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping, Sequence

    from backnorm._types import AnyArray
    from backnorm.convert.files.record import FileOption

__all__ = ["LayerChange", "convert_model", "with_dialect", "with_options"]

PROBE_VALUES: Final = 64
"""Per channel: enough to find the largest difference to within a few percent."""

PROBE_SPREAD: Final = 3.0
"""Standard deviations around the running mean: the inputs that a trained layer meets."""


@dataclass(frozen=True, slots=True)
class LayerChange:
    """How one layer was converted.

    Attributes
    ----------
    name
        The layer.
    source, target
        Its dialects.
    channels
        The number of channels.
    lost
        What the conversion did not carry, a sentence each.
    options
        The options of the target's layer that differ from its defaults: where the target's file
        does not hold them, build the network with them.
    largest
        The largest difference between both layers' eval output on a random probe, in units of the
        largest output.
    """

    name: str
    source: str
    target: str
    channels: int
    lost: tuple[str, ...]
    options: Mapping[str, object]
    largest: float


def with_options(model: ModelFile, settings: Sequence[tuple[str, str, FileOption]]) -> ModelFile:
    """Set options of layers that their file does not tell, such as eps.

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
        If a pattern fits no layer.

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
    layers = list(model.layers)
    for pattern, option, value in settings:
        fits = [fnmatch.fnmatchcase(layer.name, pattern) for layer in layers]
        if not any(fits):
            names = [layer.name for layer in layers]
            raise FileError.unknown_layer(Path(model.path).name, pattern, names)
        layers = [
            replace(layer, options={**layer.options, option: value}) if fit else layer
            for layer, fit in zip(layers, fits, strict=True)
        ]
    return replace(model, layers=tuple(layers))


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
    >>> changes[0].lost
    ()
    """
    row = row_of(dialect)
    layers = []
    for layer in model.layers:
        alike = [name for name in DIALECTS if set(layer.state) <= _names(name)]
        if dialect not in alike:
            whose = f"the dialect of layer {layer.name}"
            raise UnknownNameError.choice(whose, dialect, alike)
        known = options_of(row)
        options = {name: value for name, value in layer.options.items() if name in known}
        layers.append(replace(layer, dialect=dialect, options=options))
    return replace(model, layers=tuple(layers))


def _names(dialect: str) -> set[str]:
    return {array.name for array in row_of(dialect).arrays.known}


def convert_model(
    model: ModelFile,
    path: str | os.PathLike[str],
    dialect: str,
    *,
    format: str | None = None,  # noqa: A002 - the word for it
    n: SupportsIndex | None = None,
    allow_loss: bool = False,
) -> tuple[ModelFile, tuple[LayerChange, ...]]:
    """Convert all normalization layers, and carry all other arrays.

    Within one format and dialect everything is carried, to the byte. Into another format go the
    layers, under the target's names, and all other arrays, with their names and shapes; the
    structure of the network does not.

    Parameters
    ----------
    model
        What was read.
    path
        Where the result will be written; its ending tells the format.
    dialect
        The dialect to convert to; "onnx" stands for its newest version.
    format
        The target's format, where the ending does not tell it.
    n, allow_loss
        As for `backnorm.convert.convert_state`.

    Returns
    -------
    tuple of ModelFile and tuple of LayerChange
        What to write, and how each layer was converted.

    Raises
    ------
    ConversionError
        If something would be lost that matters, or a layer's options or arrays do not fit, naming
        the layer.
    FileError
        If the target's format cannot hold layers of that dialect, or the model has no layer.
    NotInstalledError
        If the target's format needs a library that is not installed.
    UnknownNameError
        If the dialect does not exist.

    Notes
    -----
    Accuracy: tests/files/test_recorded.py holds it to what the frameworks themselves recorded.

    Examples
    --------
    >>> import numpy as np
    >>> from backnorm.convert import files
    >>> c = np.ones(3, np.float32)
    >>> state = {"gamma": c, "beta": c, "moving_mean": c, "moving_variance": c}
    >>> model = files.ModelFile("a.npz", "npz", (files.NormLayer("bn", "keras", state),))
    >>> converted, changes = files.convert_model(model, "b.npz", "flax")
    >>> list(converted.layers[0].state), changes[0].options, changes[0].largest
    (['scale', 'bias', 'mean', 'var'], {'epsilon': 0.001}, 0.0)
    """
    if not model.layers:
        raise FileError.no_layers(model.path.name, len(model.others))
    file = Path(path)
    kind = format_of(file, format)
    wanted = _newest(dialect)
    row_of(wanted)  # refuses a name that the registry does not have
    if wanted not in kind.dialects:
        raise FileError.wrong_dialect(file.name, kind.name, wanted, kind.dialects)
    pairs = [_convert(model, layer, wanted, n, allow_loss=allow_loss) for layer in model.layers]
    same = kind.name == model.format and all(layer.dialect == wanted for layer in model.layers)
    layers = tuple(layer for layer, _ in pairs)
    content = model.content if same else None
    converted = replace(model, path=file, format=kind.name, layers=layers, content=content)
    return converted, tuple(change for _, change in pairs)


def _newest(dialect: str) -> str:
    """Return a dialect by its name, or the newest version for a name such as "onnx"."""
    versions = [name for name in DIALECTS if re.fullmatch(rf"{re.escape(dialect)}-\d+", name)]
    return dialect if dialect in DIALECTS or not versions else versions[-1]


def _convert(
    model: ModelFile, layer: NormLayer, wanted: str, n: SupportsIndex | None, *, allow_loss: bool
) -> tuple[NormLayer, LayerChange]:
    """Convert one layer; a layer that has the dialect already keeps its arrays, bitwise identical.

    What is converted is the layer as it is deployed, by its running statistics. So the option that
    chooses the statistics, which is about the network in training, is left out.
    """
    state = {field: _wide(array) for field, array in layer.state.items()}
    mode = row_of(layer.dialect).statistics.known.name
    options = {name: value for name, value in layer.options.items() if name != mode}
    try:
        conversion = convert_state(
            state, layer.dialect, wanted, n=n, allow_loss=allow_loss, source_options=options
        )
        new = NormLayer(layer.name, wanted, conversion.state, _scalars(conversion.options))
        largest = _difference(replace(layer, state=state, options=options), new)
    except BacknormError as error:
        raise ConversionError.of_layer(Path(model.path).name, layer.name, error) from error
    change = LayerChange(
        layer.name,
        layer.dialect,
        wanted,
        new.channels,
        tuple(loss.what for loss in conversion.losses),
        _not_default(wanted, new.options),
        largest,
    )
    same = replace(layer, options={**layer.options, **new.options})
    return (same if layer.dialect == wanted else new), change


def _wide(array: AnyArray) -> AnyArray:
    """Return an array in a dtype that the conversion computes in: float32 for a narrower one."""
    narrow = array.dtype.kind not in "iuf" or array.dtype == np.float16
    return array.astype(np.float32) if narrow else array


def _scalars(options: Mapping[str, object]) -> dict[str, FileOption]:
    return {
        name: value
        for name, value in options.items()
        if isinstance(value, bool | float | int | str)
    }


def _not_default(dialect: str, options: Mapping[str, FileOption]) -> dict[str, FileOption]:
    row = row_of(dialect)
    known = [row.momentum.known, row.eps.known, row.fixed_gamma.known]
    known += [*row.gamma_options.known, *row.beta_options.known]
    default = {option.name: option.default for option in known}
    return {name: value for name, value in options.items() if default.get(name) != value}


def _difference(before: NormLayer, after: NormLayer) -> float:
    """Return the largest difference of the eval output, in units of the largest finite output."""
    rng = np.random.default_rng(0)
    x = rng.normal(scale=PROBE_SPREAD, size=(PROBE_VALUES, after.channels)).astype(np.float32)
    wanted, got = _eval(before, x), _eval(after, x)
    differ = got != wanted  # the same infinity on both sides is the same: inf - inf would be NaN
    size = np.abs(wanted[np.isfinite(wanted)]).max(initial=0.0)
    return float(np.abs(got[differ] - wanted[differ]).max(initial=0.0) / size) if size else 0.0


def _eval(layer: NormLayer, x: AnyArray) -> AnyArray:
    c = x.shape[1]
    norm = BatchNorm(c, dialect=layer.dialect, **layer.options)
    y: AnyArray = norm.load_state(layer.state).eval().forward(x)
    return y.astype(np.float64)

"""Convert the normalization layers of a whole model from one dialect to another."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple, SupportsIndex

import numpy as np

from backnorm.convert.conversion import convert_state
from backnorm.convert.files.naming._kernel_names import with_kernel_names
from backnorm.convert.files.naming._layouts import family_of
from backnorm.convert.files.naming._relayout import with_layouts
from backnorm.convert.files.record import ModelFile, NormLayer
from backnorm.convert.files.registry import check_new, writable_format
from backnorm.convert.files.untold import assumed_of, same_value
from backnorm.dialects import DIALECTS, BatchNorm, row_of
from backnorm.errors import BacknormError, ConversionError, FileError, WriteError

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping

    from backnorm._types import AnyArray
    from backnorm.convert.files.record import FileOption
    from backnorm.convert.losses import Loss

__all__ = ["LayerChange", "convert_model"]

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
    losses
        What the conversion did not carry.
    options
        The options of the target's layer that differ from its defaults: where the target's file
        does not hold them, build the network with them.
    largest
        The largest difference between both layers' eval output on a random probe, in units of the
        largest output, with what is assumed.
    assumed
        What the source's file does not tell, and the value that was taken for it: the default of
        the source's dialect, or what its layers usually have.
    """

    name: str
    source: str
    target: str
    channels: int
    losses: tuple[Loss, ...]
    options: Mapping[str, object]
    largest: float
    assumed: Mapping[str, object] = field(default_factory=dict)


class _Permissions(NamedTuple):
    """What may be lost: arguments of `convert_state`."""

    n: SupportsIndex | None
    allow_loss: bool
    strict: bool


def convert_model(
    model: ModelFile,
    path: str | os.PathLike[str],
    dialect: str,
    *,
    format: str | None = None,  # noqa: A002 - the word for it
    n: SupportsIndex | None = None,
    allow_loss: bool = False,
    strict: bool = False,
) -> tuple[ModelFile, tuple[LayerChange, ...]]:
    """Convert all normalization layers, and carry all other arrays.

    Within one format and dialect everything is carried, to the byte. Into another format go the
    layers, under the target's names, and all other arrays, with their names; the structure of the
    network does not. Kernels get the order of axes that they have in the target's framework.

    Parameters
    ----------
    model
        What was read.
    path
        Where the result will be written; its ending tells the format.
    dialect
        The dialect to convert to; "onnx" stands for the version that the layers have, or else for
        the newest.
    format
        The target's format, where the ending does not tell it.
    n, allow_loss, strict
        As for `backnorm.convert.convert_state`.

    Returns
    -------
    tuple of ModelFile and tuple of LayerChange
        What to write, with notes about its kernels, and how each layer was converted.

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
        notes = (*model.notes, *filter(None, [model.folded]))
        raise FileError.no_layers(model.path.name, len(model.others), notes)
    file = Path(path)
    kind = writable_format(file, format)
    wanted = _version(dialect, model)
    row_of(wanted)  # refuses a name that the registry does not have
    if wanted not in kind.dialects:
        raise WriteError.wrong_dialect(file.name, kind.name, wanted, kind.dialects)
    permissions = _Permissions(n, allow_loss, strict)
    pairs = [_convert(model, layer, wanted, permissions) for layer in model.layers]
    same = kind.name == model.format and (
        kind.keeps_versions or all(layer.dialect == wanted for layer in model.layers)
    )
    if not same:
        check_new(kind.name)
    layers = tuple(layer for layer, _ in pairs)
    changes = tuple(change for _, change in pairs)
    if same:
        return replace(model, path=file, layers=layers, notes=()), changes
    carried = with_layouts(model, wanted)
    new = replace(carried, path=file, format=kind.name, layers=layers, content=None)
    families = {family_of(layer.dialect) for layer in model.layers}
    return with_kernel_names(new, families.pop() if len(families) == 1 else ""), changes


def _version(dialect: str, model: ModelFile) -> str:
    """Return a dialect by its name; for "onnx" the version that all layers have, or the newest."""
    versions = [name for name in DIALECTS if re.fullmatch(rf"{re.escape(dialect)}-\d+", name)]
    if dialect in DIALECTS or not versions:
        return dialect
    there = {layer.dialect for layer in model.layers}
    return there.pop() if len(there) == 1 and there <= set(versions) else versions[-1]


def _convert(
    model: ModelFile, layer: NormLayer, wanted: str, permissions: _Permissions
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
            state, layer.dialect, wanted, source_options=options, **permissions._asdict()
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
        conversion.losses,
        _not_default(wanted, new.options),
        largest,
        assumed_of(layer) if layer.dialect != wanted else {},
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
    return {k: v for k, v in options.items() if k not in default or not same_value(default[k], v)}


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

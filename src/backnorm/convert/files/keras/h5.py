"""Keras in HDF5: .h5 of a whole model or of weights, and the .weights.h5 of Keras 3.

A whole model carries its configuration, which is read as data: a layer's code, such as that of a
Lambda, is never looked at. Files of weights alone do not tell eps.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

from backnorm.convert.files._arrays import renamed, shapes_of, without
from backnorm.convert.files._content import InMemory
from backnorm.convert.files._flat import find_layers, spellings_of
from backnorm.convert.files._slots import Slots, arrays_in, write_over
from backnorm.convert.files.keras._affine import FIELDS, affine, doubts_about
from backnorm.convert.files.keras._config import entries_of, layers_of, with_told_options
from backnorm.convert.files.keras._h5_weights import weights_of
from backnorm.convert.files.keras._hdf5 import index_of, json_of
from backnorm.convert.files.keras._kernels import by_class, by_config
from backnorm.convert.files.record import ModelFile, NormLayer
from backnorm.convert.files.registry import Format, register
from backnorm.convert.files.untold import untold_of
from backnorm.errors import FileError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from backnorm._types import AnyArray
    from backnorm.convert.files._budget import Budget, Source
    from backnorm.convert.files._content import Content
    from backnorm.convert.files._slots import Slot
    from backnorm.convert.files.keras._config import KerasLayer
    from backnorm.convert.files.keras._hdf5 import Index

__all__ = ["FORMAT", "filled", "with_config"]

NUMBERED: Final = re.compile(r"(?P<layer>(?:.*/)?batch_normalization(?:_\d+)?)/vars/\d+")


@dataclass(frozen=True, slots=True)
class _Contents:
    """The bytes of a file, what they hold, and its arrays."""

    content: Content
    index: Index
    arrays: Mapping[str, AnyArray]


@dataclass(frozen=True, slots=True, eq=False)
class _Weights(Slots):
    """The bytes of a file, where the layers' arrays lie, and where the rest does."""

    rest: Mapping[str, Slot] = field(default_factory=dict)


def read(source: Source) -> ModelFile:
    """Read the arrays of an .h5 file, and the layers among them."""
    contents = _contents(source.budget, source.content)
    if contents.index.named:
        return _named(source.path, contents)
    return _numbered(source, contents)


def _contents(budget: Budget, content: Content) -> _Contents:
    index = index_of(budget.file, content)
    return _Contents(content, index, arrays_in(budget, content, index.slots))


def _named(path: Path, contents: _Contents) -> ModelFile:
    """Go by the names: the file is of Keras 2, or in its style."""
    short = _short_names(contents.arrays)
    if len(short) < len(contents.arrays):
        raise FileError.malformed(path.name, "", "name each array differently", "a name twice")
    arrays = renamed(contents.arrays, short)
    by_name = find_layers(arrays, spellings_of("keras"))
    text = contents.index.config
    config = None if text is None else json_of(path.name, "model_config", text)
    layers = with_told_options(path.name, by_name.layers, config)
    places = {where: contents.index.slots[short[key]] for where, key in by_name.keys.items()}
    notes = _left(contents)
    rest = {key: contents.index.slots[short[key]] for key in by_name.others}
    slots = _Weights(contents.content, places, {}, rest)
    kernels = by_name.kernels
    if config is not None:
        kernels = by_config(list(entries_of(path.name, config)), shapes_of(by_name.others))
    ordered = config is not None or contents.index.ordered
    return ModelFile(path, "h5", layers, by_name.others, notes, slots, kernels, ordered)


def _left(contents: _Contents) -> tuple[str, ...]:
    return tuple(
        f"{name} {why}; it is carried through in this format only"
        for name, why in contents.index.left.items()
    )


def _short_names(names: Iterable[str]) -> dict[str, str]:
    """Return the names by which layers are found, and for each the name in the file.

    Where a process had made a layer of that name before, Keras 2 numbered the names of the
    variables, not the layer: bn/bn_1/gamma is of the layer bn if the group bn holds nothing but
    bn_1.
    """
    short = {_short(name): name for name in names}
    scopes: dict[str, set[str]] = {}
    for name in short:
        group, _, inside = name.partition("/")
        scopes.setdefault(group, set()).add(inside.rpartition("/")[0])
    numbered = {
        f"{group}/{scope}/": f"{group}/"
        for group, (scope, *more) in scopes.items()
        if not more and re.fullmatch(rf"{re.escape(group)}_\d+", scope)
    }
    return {_renamed(key, numbered): name for key, name in short.items()}


def _renamed(name: str, numbered: Mapping[str, str]) -> str:
    before, slash, field = name.rpartition("/")
    return numbered.get(before + slash, before + slash) + field


def _short(name: str) -> str:
    """Return a variable's name without what Keras puts before it and without the :0 behind."""
    parts = name.removeprefix("model_weights/").split("/")
    half = len(parts) // 2
    while half and parts[:half] != parts[half : 2 * half]:
        half -= 1
    return "/".join(parts[half:]).removesuffix(":0")


def _numbered(source: Source, contents: _Contents) -> ModelFile:
    """Go by the groups of Keras 3, which are named after the layers' classes."""
    groups = dict.fromkeys(
        match["layer"] for match in map(NUMBERED.fullmatch, contents.arrays) if match
    )
    untold = untold_of("keras", FIELDS, alone=True)
    layers = [
        NormLayer(group, "keras", {}, affine(source, group, contents.arrays), untold)
        for group in groups
    ]
    pairs = [(layer, layer.name) for layer in layers]
    model = _by_path(source.path, "h5", contents, pairs, ())
    doubts = doubts_about(model.layers)
    kernels = by_class(shapes_of(model.others))
    return replace(model, kernels=kernels, notes=(*model.notes, *doubts), ordered=False)


def _by_path(
    path: Path,
    format_: str,
    contents: _Contents,
    layers: Sequence[tuple[NormLayer, str]],
    notes: tuple[str, ...],
) -> ModelFile:
    """Give layers the arrays that Keras 3 has numbered.

    Parameters
    ----------
    path, format_
        Of the model file.
    contents
        The weights.
    layers
        Each with its options and no arrays, and its path.
    notes
        Of the model file.

    Returns
    -------
    ModelFile
        With each array in a layer or among the others.

    Raises
    ------
    FileError
        If one of a layer's arrays is missing.
    """
    keys: dict[tuple[str, str], str] = {}
    full = []
    for layer, inside in layers:
        state = {}
        for index, name in enumerate(_fields(layer)):
            key = f"{inside}/vars/{index}"
            if key not in contents.arrays:
                place = f"layer {layer.name}, {name}"
                raise FileError.missing_array(path.name, place, sorted(contents.arrays)[:8])
            state[name] = contents.arrays[key]
            keys[layer.name, name] = key
        full.append(replace(layer, state=state))
    taken = set(keys.values())
    others = without(contents.arrays, taken)
    places = {where: contents.index.slots[key] for where, key in keys.items()}
    notes += _left(contents)
    rest = {key: contents.index.slots[key] for key in others}
    weights = _Weights(contents.content, places, {}, rest)
    return ModelFile(path, format_, tuple(full), others, notes, weights)


def _fields(layer: NormLayer) -> Iterator[str]:
    if layer.options.get("scale", True):
        yield "gamma"
    if layer.options.get("center", True):
        yield "beta"
    yield from FIELDS[2:]


def with_config(source: Source, weights: bytes, config: Mapping[str, Any]) -> ModelFile:
    """Read the weights of a model whose configuration is known.

    Parameters
    ----------
    source
        The model file.
    weights
        The bytes of its HDF5 part.
    config
        Its configuration.

    Returns
    -------
    ModelFile
        Of the format "keras".

    Raises
    ------
    FileError
        If the two do not fit together.
    """
    contents = _contents(source.budget, InMemory(weights))
    layers = [_empty(layer) for layer in layers_of(source.path.name, config)]
    model = _by_path(source.path, "keras", contents, layers, ())
    entries = list(entries_of(source.path.name, config))
    return replace(model, kernels=by_config(entries, shapes_of(model.others)))


def _empty(layer: KerasLayer) -> tuple[NormLayer, str]:
    return NormLayer(layer.name, "keras", {}, layer.options), layer.path


def write(model: ModelFile) -> bytes:
    """Write over the file that was read, or make one of weights, which Keras loads by name."""
    if isinstance(model.content, Slots):
        return write_over(model, model.content)
    return weights_of(model)


def filled(content: object, names: Collection[str]) -> Slots:
    """Return the weights of a file that was read, to be written over.

    Parameters
    ----------
    content
        Of the file that was read.
    names
        Of the other arrays that are written over too.

    Returns
    -------
    Slots
        Its bytes, with the places of all these arrays.
    """
    assert isinstance(content, _Weights)  # noqa: S101 - the readers above made it
    return replace(content, others={name: content.rest[name] for name in names})


def fill(like: ModelFile, names: Collection[str]) -> Slots:
    """Return the bytes of a file, in which all arrays of a network are written over."""
    return filled(like.content, names)


FORMAT: Final = Format("h5", ("keras",), read, write, fill=fill)

register(FORMAT)

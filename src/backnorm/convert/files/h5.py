"""Keras in HDF5: .h5 of a whole model or of weights, and the .weights.h5 of Keras 3.

A whole model carries its configuration, which is read as data: a layer's code, such as that of a
Lambda, is never looked at. Files of weights alone do not tell eps.
"""

from __future__ import annotations

import io
import re
from collections import Counter
from dataclasses import dataclass, replace
from itertools import chain
from typing import TYPE_CHECKING, Any, Final

import h5py
import numpy as np

from backnorm.convert.files._dtypes import widened
from backnorm.convert.files._flat import distinct, find_layers, spellings_of
from backnorm.convert.files._hdf5 import index_of, json_of
from backnorm.convert.files._keras_config import layers_of
from backnorm.convert.files._slots import Slots, array_in, write_over
from backnorm.convert.files.record import ModelFile, NormLayer
from backnorm.convert.files.registry import Format, register
from backnorm.errors import FileError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from backnorm._types import AnyArray
    from backnorm.convert.files._hdf5 import Index
    from backnorm.convert.files._keras_config import KerasLayer
    from backnorm.convert.files.record import FileOption

__all__ = ["FORMAT", "with_config"]

FIELDS: Final = ("gamma", "beta", "moving_mean", "moving_variance")
"""The order in which Keras 3 numbers a layer's variables; it skips those that the layer lacks."""

NUMBERED: Final = re.compile(r"(?P<layer>(?:.*/)?batch_normalization(?:_\d+)?)/vars/\d+")

_NO_EPSILON: Final[tuple[str, ...]] = (
    "weights alone do not tell epsilon: Keras's default is taken for granted",
)


@dataclass(frozen=True, slots=True)
class _Contents:
    """The bytes of a file, what they hold, and its arrays."""

    data: bytes
    index: Index
    arrays: Mapping[str, AnyArray]


def read(path: Path, data: bytes, net: Path | None) -> ModelFile:  # noqa: ARG001 - inside, if any
    """Read the arrays of an .h5 file, and the layers among them."""
    contents = _contents(path.name, data)
    return (_named if contents.index.named else _numbered)(path, contents)


def _contents(file: str, data: bytes) -> _Contents:
    index = index_of(file, data)
    arrays = {name: array_in(file, name, data, slot) for name, slot in index.slots.items()}
    return _Contents(data, index, arrays)


def _named(path: Path, contents: _Contents) -> ModelFile:
    """Go by the names: the file is of Keras 2, or in its style."""
    short = {_short(name): name for name in contents.arrays}
    if len(short) < len(contents.arrays):
        raise FileError.malformed(path.name, "", "name each array differently", "a name twice")
    arrays = {key: contents.arrays[name] for key, name in short.items()}
    by_name = find_layers(arrays, spellings_of("keras"))
    layers, notes = _with_options(path.name, by_name.layers, contents.index.config)
    places = {where: contents.index.slots[short[key]] for where, key in by_name.keys.items()}
    notes += _scattered(contents)
    return ModelFile(path, "h5", layers, by_name.others, notes, Slots(contents.data, places))


def _with_options(
    file: str, layers: tuple[NormLayer, ...], config: str | None
) -> tuple[tuple[NormLayer, ...], tuple[str, ...]]:
    """Give layers the options of the configuration, and note the layers that it does not name."""
    if config is None:
        return layers, _NO_EPSILON
    known = _options(layers_of(file, json_of(file, "model_config", config)))
    complete, notes = [], []
    for layer in layers:
        options = known.get(layer.name, known.get(_last(layer.name)))
        if options is None:
            notes.append(f"{layer.name} is not in model_config: the default of epsilon is assumed")
        complete.append(replace(layer, options={**layer.options, **(options or {})}))
    return tuple(complete), tuple(notes)


def _scattered(contents: _Contents) -> tuple[str, ...]:
    return tuple(
        f"{name} is compressed or in pieces; it is carried through in this format only"
        for name in contents.index.scattered
    )


def _options(layers: Iterable[KerasLayer]) -> dict[str, Mapping[str, FileOption]]:
    """Return the options by the layers' names, and by the last part of a name if it is unique."""
    known = {layer.name: layer.options for layer in layers}
    lasts = Counter(map(_last, known))
    return {_last(name): value for name, value in known.items() if lasts[_last(name)] == 1} | known


def _last(name: str) -> str:
    return name.rpartition("/")[2]


def _short(name: str) -> str:
    """Return a variable's name without what Keras puts before it and without the :0 behind."""
    parts = name.removeprefix("model_weights/").split("/")
    half = len(parts) // 2
    while half and parts[:half] != parts[half : 2 * half]:
        half -= 1
    return "/".join(parts[half:]).removesuffix(":0")


def _numbered(path: Path, contents: _Contents) -> ModelFile:
    """Go by the groups of Keras 3, which are named after the layers' classes."""
    groups = dict.fromkeys(
        match["layer"] for match in map(NUMBERED.fullmatch, contents.arrays) if match
    )
    count = {group: _count(contents.arrays, group) for group in groups}
    unclear = [group for group in groups if count[group] not in (2, len(FIELDS))]
    layers = [
        NormLayer(group, "keras", {}, {"scale": count[group] > 2, "center": count[group] > 2})  # noqa: PLR2004
        for group in groups
        if group not in unclear
    ]
    notes = list(_NO_EPSILON)
    notes += [f"{group} has 3 arrays: gamma or beta? It is left alone" for group in unclear]
    return _by_path(path, "h5", contents, [(layer, layer.name) for layer in layers], tuple(notes))


def _count(arrays: Mapping[str, AnyArray], path: str) -> int:
    return sum(f"{path}/vars/{index}" in arrays for index in range(len(FIELDS) + 1))


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
        for index, field in enumerate(_fields(layer)):
            key = f"{inside}/vars/{index}"
            if key not in contents.arrays:
                place = f"layer {layer.name}, {field}"
                raise FileError.missing_array(path.name, place, sorted(contents.arrays)[:8])
            state[field] = contents.arrays[key]
            keys[layer.name, field] = key
        full.append(replace(layer, state=state))
    taken = set(keys.values())
    others = {key: array for key, array in contents.arrays.items() if key not in taken}
    places = {where: contents.index.slots[key] for where, key in keys.items()}
    notes += _scattered(contents)
    return ModelFile(path, format_, tuple(full), others, notes, Slots(contents.data, places))


def _fields(layer: NormLayer) -> Iterator[str]:
    if layer.options.get("scale", True):
        yield "gamma"
    if layer.options.get("center", True):
        yield "beta"
    yield from FIELDS[2:]


def with_config(path: Path, weights: bytes, config: Mapping[str, Any], place: str) -> ModelFile:
    """Read the weights of a model whose configuration is known.

    Parameters
    ----------
    path
        Of the model file.
    weights
        The bytes of its HDF5 part.
    config
        Its configuration.
    place
        What the HDF5 part is called, for messages.

    Returns
    -------
    ModelFile
        Of the format "keras".

    Raises
    ------
    FileError
        If the two do not fit together.
    """
    contents = _contents(f"{path.name}, {place}", weights)
    layers = [_empty(layer) for layer in layers_of(path.name, config)]
    return _by_path(path, "keras", contents, layers, ())


def _empty(layer: KerasLayer) -> tuple[NormLayer, str]:
    return NormLayer(layer.name, "keras", {}, layer.options), layer.path


def write(model: ModelFile) -> bytes:
    """Write over the file that was read, or make one of weights, which Keras loads by name."""
    if isinstance(model.content, Slots):
        return write_over(model, model.content)
    of_layers = (
        (f"{layer.name}/{field}", (layer.name, array))
        for layer in model.layers
        for field, array in layer.state.items()
    )
    of_others = ((name, (name.partition("/")[0], array)) for name, array in model.others.items())
    groups: dict[str, dict[str, AnyArray]] = {}
    for name, (group, array) in distinct(model.path.name, chain(of_layers, of_others)).items():
        groups.setdefault(group, {})[name] = array
    stream = io.BytesIO()
    with h5py.File(stream, "w") as file:
        file.attrs["layer_names"] = [name.encode() for name in groups]
        file.attrs["backend"] = b"numpy"
        file.attrs["keras_version"] = b"2.0.0"
        for name, arrays in groups.items():
            node = file.create_group(name or "norm")
            node.attrs["weight_names"] = [key.encode() for key in arrays]
            for key, array in arrays.items():
                node.create_dataset(key, data=np.ascontiguousarray(widened(array)))
    return stream.getvalue()


FORMAT: Final = Format("h5", ("keras",), read, write)

register(FORMAT)

"""Keras's configuration: where in a weights file each layer's variables are, and its options."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from backnorm.convert.files.keras._hdf5 import DEEPEST
from backnorm.convert.files.untold import untold_of
from backnorm.errors import FileError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from backnorm.convert.files.record import FileOption, NormLayer

__all__ = [
    "OPTIONS",
    "ConfigEntry",
    "KerasLayer",
    "entries_of",
    "layers_of",
    "with_told_options",
]

OPTIONS: Final = ("epsilon", "momentum", "center", "scale")
"""The options of BatchNormalization that a converted layer depends on."""

NORMS: Final = (
    "BatchNormalization",
    "BatchNormalizationV1",
    "BatchNormalizationV2",
    "SyncBatchNormalization",
)
"""Names that the class has had."""


@dataclass(frozen=True, slots=True)
class KerasLayer:
    """One BatchNormalization of the network.

    Attributes
    ----------
    name
        Its name, with those of the networks that it is in, from the outside in.
    path
        Where Keras 3 keeps its variables.
    options
        Those of `OPTIONS`.
    """

    name: str
    path: str
    options: Mapping[str, FileOption]


@dataclass(frozen=True, slots=True)
class ConfigEntry:
    """One layer of the network, of any class, or a network in it.

    Attributes
    ----------
    kind
        The name of its class.
    names
        Its name, with those of the networks that it is in, from the outside in.
    path
        Where Keras 3 keeps its variables.
    config
        Its configuration.
    entry
        All that the network says of it: the configuration, and what it reads.
    """

    kind: str
    names: tuple[str, ...]
    path: str
    config: Mapping[str, Any]
    entry: Mapping[str, Any]


def layers_of(file: str, config: Mapping[str, Any]) -> Iterator[KerasLayer]:
    """Find every BatchNormalization in a model's configuration.

    Parameters
    ----------
    file
        For messages.
    config
        The model's configuration.

    Yields
    ------
    KerasLayer
        In the order of the configuration.

    Raises
    ------
    FileError
        If it is not as Keras writes it.
    """
    for layer in entries_of(file, config):
        if layer.kind in NORMS:
            name = "/".join(layer.names)
            yield KerasLayer(name, layer.path, _options(file, name, layer.config))


def entries_of(file: str, config: Mapping[str, Any]) -> Iterator[ConfigEntry]:
    """Find every layer in a model's configuration, a network before the layers in it.

    Keras 3 keeps a layer's variables under the name of its class, numbered where there are
    several in one model, and not under its own name.

    Parameters
    ----------
    file
        For messages.
    config
        The model's configuration.

    Yields
    ------
    ConfigEntry
        In the order of the configuration.

    Raises
    ------
    FileError
        If it is not as Keras writes it.
    """
    yield from _inside(file, config, "", (), 0)


def with_told_options(
    file: str, layers: tuple[NormLayer, ...], config: Mapping[str, Any] | None
) -> tuple[NormLayer, ...]:
    """Give layers that were found by their names the options of the configuration.

    Parameters
    ----------
    file
        For messages.
    layers
        Of Keras.
    config
        The model's configuration; None where the file lacks it.

    Returns
    -------
    tuple of NormLayer
        The options of a layer that the configuration does not have are untold.
    """
    known = {} if config is None else _by_name(layers_of(file, config))
    complete = []
    for layer in layers:
        # A layer's group has its name; what its variables are called may be another layer's.
        names = (layer.name, layer.name.partition("/")[0], _last(layer.name))
        options = next((known[name] for name in names if name in known), None)
        untold = untold_of("keras", layer.state, alone=True) if options is None else ()
        all_options = {**layer.options, **(options or {})}
        complete.append(replace(layer, options=all_options, untold=untold))
    return tuple(complete)


def _by_name(layers: Iterable[KerasLayer]) -> dict[str, Mapping[str, FileOption]]:
    """Return the options by the layers' names, and by the last part of a name if it is unique."""
    known = {layer.name: layer.options for layer in layers}
    lasts = Counter(map(_last, known))
    return {_last(name): value for name, value in known.items() if lasts[_last(name)] == 1} | known


def _last(name: str) -> str:
    return name.rpartition("/")[2]


def _inside(
    file: str, entry: Mapping[str, Any], path: str, names: tuple[str, ...], depth: int
) -> Iterator[ConfigEntry]:
    config = entry.get("config")
    if depth > DEEPEST:
        raise FileError.malformed(file, "config", f"be nested at most {DEEPEST} deep", "more")
    if not isinstance(config, dict):
        return
    yield ConfigEntry(str(entry.get("class_name")), names, path, config, entry)
    inner = config.get("layer")
    if isinstance(inner, dict):  # a wrapper, such as TimeDistributed
        yield from _inside(
            file, inner, f"{path}/layer".lstrip("/"), (*names, _name(inner)), depth + 1
        )
    used: Counter[str] = Counter()
    layers = config.get("layers")
    for layer in layers if isinstance(layers, list) else []:
        if not isinstance(layer, dict):
            raise FileError.malformed(file, "config, layers", "be objects", type(layer).__name__)
        kind = _snake(str(layer.get("class_name")))
        number = f"_{used[kind]}" if used[kind] else ""
        used[kind] += 1
        inside = f"{path}/layers/{kind}{number}".lstrip("/")
        yield from _inside(file, layer, inside, (*names, _name(layer)), depth + 1)


def _name(entry: Mapping[str, Any]) -> str:
    config = entry.get("config")
    return str(config.get("name", "")) if isinstance(config, dict) else ""


def _snake(name: str) -> str:
    """Write BatchNormalization as batch_normalization, and Conv2DTranspose as conv2d_transpose."""
    name = re.sub(r"\W+", "", name)
    name = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower()


def _options(file: str, name: str, config: Mapping[str, Any]) -> dict[str, FileOption]:
    options: dict[str, FileOption] = {}
    for key in OPTIONS:
        value = config.get(key)
        if key in config:
            wanted = bool if key in {"center", "scale"} else (int, float)
            if not isinstance(value, wanted):
                place = f"layer {name}, {key}"
                raise FileError.malformed(file, place, "be a number or a truth", repr(value)[:40])
            options[key] = bool(value) if wanted is bool else float(value)
    return options

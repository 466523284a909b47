"""Keras's configuration: where in a weights file each layer's variables are, and its options."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from backnorm.convert.files._hdf5 import DEEPEST
from backnorm.errors import FileError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from backnorm.convert.files.record import FileOption

__all__ = ["OPTIONS", "KerasLayer", "layers_of"]

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


def layers_of(file: str, config: Mapping[str, Any]) -> Iterator[KerasLayer]:
    """Find every BatchNormalization in a model's configuration.

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
    KerasLayer
        In the order of the configuration.

    Raises
    ------
    FileError
        If it is not as Keras writes it.
    """
    yield from _inside(file, config, "", (), 0)


def _inside(
    file: str, entry: Mapping[str, Any], path: str, names: tuple[str, ...], depth: int
) -> Iterator[KerasLayer]:
    config = entry.get("config")
    if depth > DEEPEST:
        raise FileError.malformed(file, "config", f"be nested at most {DEEPEST} deep", "more")
    if not isinstance(config, dict):
        return
    if entry.get("class_name") in NORMS:
        yield KerasLayer("/".join(names), path, _options(file, "/".join(names), config))
        return
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

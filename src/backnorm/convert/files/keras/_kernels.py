"""The kernels of a Keras network: of which class each layer is, and what is flattened before it."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from backnorm.convert.files._trace import NO_MAP, channels_before
from backnorm.convert.files.keras._graph import read_by, steps_of
from backnorm.convert.files.naming._layouts import LAYOUTS
from backnorm.convert.files.record import LayerKernel

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from backnorm._types import Shape
    from backnorm.convert.files.keras._config import ConfigEntry

__all__ = ["by_class", "by_config"]

GROUP: Final = re.compile(
    r"(?:(?P<layer>(?:.*/)?(?P<kind>(?:depthwise_|separable_)?conv[123]d(?:_transpose)?|dense)"
    r"(?:_\d+)?))/vars/\d+"
)
"""A layer in a file of weights of Keras 3, whose groups are named after the layers' classes."""


def _kinds(name: str) -> tuple[str, ...]:
    """Return the kinds of the kernels of a class, which may be written with underscores."""
    if name in {"Dense", "dense"}:
        return ("dense",)
    plain = name.lower().replace("_", "").replace("convolution", "conv")
    if not re.fullmatch(r"(depthwise|separable)?conv[123]d(transpose)?", plain):
        return ()
    if plain.startswith("separable"):
        return ("depthwise", "conv")
    if plain.startswith("depthwise"):
        return ("depthwise",)
    return ("transposed",) if plain.endswith("transpose") else ("conv",)


def _kernels(
    layer: str,
    kinds: Sequence[str],
    weights: Sequence[str],
    bias: str,
    shapes: Mapping[str, Shape],
) -> Iterator[LayerKernel]:
    """Yield the kernels of one layer; a bias belongs to the last."""
    for kind, weight in zip(kinds, weights, strict=True):
        own = bias if weight == weights[-1] else ""
        channels = next(iter(shapes[weight][-2:-1]), None) if kind == "depthwise" else None
        yield LayerKernel(layer, kind, weight, LAYOUTS["keras"][kind], own, channels)


def by_config(
    entries: Sequence[ConfigEntry], shapes: Mapping[str, Shape]
) -> tuple[LayerKernel, ...]:
    """Find the kernels of a model by its configuration.

    Parameters
    ----------
    entries
        All layers.
    shapes
        All arrays, by their numbers in Keras 3's groups or by their names.

    Returns
    -------
    tuple of LayerKernel
        In the order of the configuration.
    """
    steps = steps_of(entries)
    named = _by_layer(shapes)
    found = []
    for entry in entries:
        kinds = _kinds(entry.kind)
        weights, bias = _arrays(entry, kinds, shapes, named)
        if not kinds or len(weights) != len(kinds):
            continue
        for kernel in _kernels("/".join(entry.names), kinds, weights, bias, shapes):
            groups = entry.config.get("groups", 1)
            whole = replace(kernel, groups=groups if isinstance(groups, int) else None)
            if kernel.kind == "dense":
                channels = channels_before(steps, read_by(entry, entries), flattens=False)
                rows = next(iter(shapes[kernel.weight]), None)
                whole = replace(whole, channels=rows if channels == NO_MAP else channels)
            found.append(whole)
    return tuple(found)


def _arrays(
    entry: ConfigEntry,
    kinds: Sequence[str],
    shapes: Mapping[str, Shape],
    named: Mapping[str, Mapping[str, str]],
) -> tuple[list[str], str]:
    """Return the names of a layer's kernels and of its bias."""
    numbers = [f"{entry.path}/vars/{index}" for index in range(len(kinds) + 1)]
    if numbers[0] in shapes:
        there = [name for name in numbers if name in shapes]
        return there[: len(kinds)], (there[len(kinds)] if len(there) > len(kinds) else "")
    own = named.get(entry.names[-1] if entry.names else "", {})
    fields = ["depthwise_kernel", "pointwise_kernel"] if len(kinds) > 1 else ["kernel"]
    if kinds == ("depthwise",) and "kernel" not in own:
        fields = ["depthwise_kernel"]  # Keras 2
    return [own[field] for field in fields if field in own], own.get("bias", "")


def _by_layer(names: Collection[str]) -> dict[str, dict[str, str]]:
    """Sort arrays by the last name of their layer, where only one layer has it."""
    sorted_: dict[str, dict[str, str]] = {}
    places: dict[str, set[str]] = {}
    for name in names:
        path, _, field = name.rpartition("/")
        layer = path.rpartition("/")[2]
        sorted_.setdefault(layer, {})[field] = name
        places.setdefault(layer, set()).add(path)
    return {layer: fields for layer, fields in sorted_.items() if len(places[layer]) == 1}


def by_class(shapes: Mapping[str, Shape]) -> tuple[LayerKernel, ...]:
    """Find the kernels in weights of Keras 3 alone, whose groups have the classes' names.

    Parameters
    ----------
    shapes
        Of all arrays.

    Returns
    -------
    tuple of LayerKernel
        What was flattened before a dense layer is not told.
    """
    groups = {match["layer"]: match["kind"] for match in map(GROUP.fullmatch, shapes) if match}
    counts = Counter(name.rpartition("/vars/")[0] for name in shapes)
    found: list[LayerKernel] = []
    for layer, kind in groups.items():
        kinds = _kinds(kind)
        names = [f"{layer}/vars/{index}" for index in range(counts[layer])]
        if len(kinds) <= len(names) <= len(kinds) + 1:
            bias = names[len(kinds)] if len(names) > len(kinds) else ""
            found += _kernels(layer, kinds, names[: len(kinds)], bias, shapes)
    return tuple(found)

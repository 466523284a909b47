"""What each layer of a Keras network does to the channels of what it reads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from backnorm.convert.files._trace import TraceStep

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from backnorm.convert.files.keras._config import ConfigEntry

__all__ = ["read_by", "steps_of"]

SAME: Final = (
    *("Activation", "ReLU", "LeakyReLU", "ELU", "Softmax", "Rescaling", "Identity"),
    *("Dropout", "AlphaDropout", "GaussianDropout", "GaussianNoise", "ActivityRegularization"),
)
KEEPS: Final = ("Normalization", "Pool", "Padding", "Cropping", "UpSampling", "SpatialDropout")
"""Parts of class names, such as BatchNormalization and MaxPooling2D."""

MERGES: Final = ("Add", "Average", "Maximum", "Minimum", "PReLU")

FEWEST_AXES: Final = 4
"""Of an input that surely has channels: (batch, height, width, channels)."""


def steps_of(entries: Sequence[ConfigEntry]) -> dict[str, TraceStep]:
    """Return what each layer does, by its name with those of the networks that it is in."""
    first = any(entry.config.get("data_format") == "channels_first" for entry in entries)
    if first:
        return {}
    return {_key(entry.names): _step(entry, entries) for entry in entries if entry.names}


def read_by(entry: ConfigEntry, entries: Sequence[ConfigEntry]) -> str:
    """Return what a layer reads, if it reads the output of one call of one layer."""
    sources = _sources(entry, entries)
    return sources[0] if len(sources) == 1 else ""


def _key(names: tuple[str, ...]) -> str:
    return "/".join(names)


def _step(entry: ConfigEntry, entries: Sequence[ConfigEntry]) -> TraceStep:
    kind, config = entry.kind, entry.config
    inputs = _sources(entry, entries)
    role, channels = "other", None
    if isinstance(config.get("layers"), list):
        role, inputs = "same", _outputs(entry, entries)
    elif kind == "InputLayer":
        role, channels = _input(entry)
    elif kind == "Dense":
        role, channels = "vector", _whole(config.get("units"))
    elif "Conv" in kind and "filters" in config:
        role, channels = "map", _whole(config["filters"])
    elif kind.startswith("Global"):
        role = "keeps" if config.get("keepdims") else "vector"
    elif kind == "Flatten":
        role = "flatten"
    elif kind == "Concatenate" and _joins_channels(config, entries):
        role = "concat"
    elif kind in SAME:
        role = "same"
    elif kind in MERGES or any(part in kind for part in KEEPS) or _keeps_depth(entry):
        role = "keeps"
    return TraceStep(role, inputs, channels)


def _joins_channels(config: Mapping[str, Any], entries: Sequence[ConfigEntry]) -> bool:
    """Return whether a layer joins along the last axis, which is 3 for images."""
    volumes = any("3D" in entry.kind for entry in entries)
    return config.get("axis", -1) in ({-1} if volumes else {-1, 3})


def _keeps_depth(entry: ConfigEntry) -> bool:
    return "DepthwiseConv" in entry.kind and entry.config.get("depth_multiplier") == 1


def _input(entry: ConfigEntry) -> tuple[str, int | None]:
    """Tell channels from the shape; a vector that a network in the network gets is not told."""
    shape = entry.config.get("batch_shape") or entry.config.get("batch_input_shape")
    if not isinstance(shape, list):
        return "other", None
    if len(shape) >= FEWEST_AXES:
        return "map", _whole(shape[-1])
    vector = len(shape) == 2 and len(entry.names) == 1  # noqa: PLR2004 - batch and features
    return ("vector" if vector else "other"), None


def _whole(value: object) -> int | None:
    return value if isinstance(value, int) and value > 0 else None


def _siblings(entry: ConfigEntry, entries: Sequence[ConfigEntry]) -> list[ConfigEntry]:
    depth = len(entry.names)
    return [
        other
        for other in entries
        if len(other.names) == depth and other.names[:-1] == entry.names[:-1]
    ]


def _sources(entry: ConfigEntry, entries: Sequence[ConfigEntry]) -> tuple[str, ...]:
    """Return the layers that a layer reads; none where it is called more than once."""
    nodes = entry.entry.get("inbound_nodes")
    outside = entry.names[:-1]
    if isinstance(nodes, list):
        found = list(_histories(nodes)) if len(nodes) == 1 else []
        return tuple(_key((*outside, name)) for name in found)
    siblings = _siblings(entry, entries)
    at = next((index for index, other in enumerate(siblings) if other is entry), 0)
    return (_key(siblings[at - 1].names),) if at else ()


def _histories(node: Any) -> Iterator[str]:
    """Yield the names in inbound_nodes, as Keras 2 and Keras 3 write them."""
    waiting = [node]
    while waiting:
        part = waiting.pop(0)
        if isinstance(part, dict):
            history = part.get("keras_history")
            if isinstance(history, list) and history:
                yield str(history[0])
            else:
                waiting[:0] = part.values()
        elif isinstance(part, list):
            if part and isinstance(part[0], str) and all(isinstance(at, int) for at in part[1:3]):
                yield part[0]
            else:
                waiting[:0] = part


def _outputs(entry: ConfigEntry, entries: Sequence[ConfigEntry]) -> tuple[str, ...]:
    """Return the layer whose output a network's output is."""
    listed = entry.config.get("output_layers")
    if isinstance(listed, list):
        names = list(_histories(listed))
        return (_key((*entry.names, names[0])),) if len(names) == 1 else ()
    inner = [other for other in entries if other.names[:-1] == entry.names and other is not entry]
    return (_key(inner[-1].names),) if inner else ()

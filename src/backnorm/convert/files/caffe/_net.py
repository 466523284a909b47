"""The structure of a Caffe network: which Scale layer belongs to which BatchNorm layer."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np

from backnorm.convert.files.caffe._prototxt import parse_prototxt
from backnorm.convert.files.naming.numbers import whole_number
from backnorm.errors import FileError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from backnorm.convert.files.caffe._prototxt import Message
    from backnorm.convert.files.record import FileOption

__all__ = ["NetLayer", "float32", "layers_of_prototxt", "scale_of"]

OPTIONS: Final = ("eps", "moving_average_fraction", "use_global_stats")
"""The options of BatchNorm that a converted layer depends on."""


@dataclass(frozen=True, slots=True)
class NetLayer:
    """One layer as the network's description has it.

    Attributes
    ----------
    name, type
        As in the description.
    bottoms, tops
        The names of what it reads and writes.
    options
        Those of a BatchNorm layer that are given.
    per_channel
        Of a Scale layer: whether it has one gamma for each channel on axis 1.
    """

    name: str
    type: str
    bottoms: tuple[str, ...] = ()
    tops: tuple[str, ...] = ()
    options: Mapping[str, FileOption] = field(default_factory=dict)
    per_channel: bool = True
    groups: int = 1
    """Of a convolution."""
    transposed: bool = False
    """Of an InnerProduct layer: whether its weight has the inputs on its first axis."""
    axis: int = 1
    """Of a convolution or an InnerProduct layer: on which axis of its output the channels lie."""
    shares: tuple[str, ...] = ()
    """The names under which it shares weights with layers that have them too."""


def float32(value: float) -> float:
    """Return what Caffe, whose options are float32, makes of a number."""
    return float(np.float32(value))


def scale_of(layers: Sequence[NetLayer], index: int) -> NetLayer | None:
    """Return the Scale layer that a BatchNorm layer's output goes to.

    It has to be the only one that reads that output: others would see it without gamma and beta,
    and the two were not one layer. What reads the blob after it was written anew, as a Scale layer
    in place does, reads something else.

    Parameters
    ----------
    layers
        All layers, in the order in which they run.
    index
        Which of them is the BatchNorm layer.

    Returns
    -------
    NetLayer or None
        The Scale layer, if there is one.
    """
    if not layers[index].tops:
        return None
    blob = layers[index].tops[0]
    readers = []
    for layer in layers[index + 1 :]:
        if blob in layer.bottoms:
            readers.append(layer)
        if blob in layer.tops:
            break
    if len(readers) != 1 or readers[0].type != "Scale":
        return None
    scale = readers[0]
    return scale if len(scale.bottoms) == 1 and scale.per_channel else None


def layers_of_prototxt(file: str, text: str) -> list[NetLayer]:
    """Read the layers of a network's description.

    Parameters
    ----------
    file
        Its name, for messages.
    text
        What it holds.

    Returns
    -------
    list of NetLayer
        In the order of the file.

    Raises
    ------
    FileError
        Naming the line, or the layer and the field.
    """
    net = parse_prototxt(file, text)
    layers = [*net.get("layer", []), *net.get("layers", [])]  # the second is V1
    return [_layer(file, layer) for layer in layers if isinstance(layer, dict)]


def _layer(file: str, layer: Message) -> NetLayer:
    name = _words(layer, "name")[0] if _words(layer, "name") else ""
    type_ = _words(layer, "type")[0] if _words(layer, "type") else ""
    norm, scale = _part(layer, "batch_norm_param"), _part(layer, "scale_param")
    group = (_words(_part(layer, "convolution_param"), "group") or ["1"])[-1]
    groups = whole_number(group)
    if groups is None:
        raise FileError.malformed(file, f"layer {name}, group", "be a number", group)
    transposed = _words(_part(layer, "inner_product_param"), "transpose")[-1:]
    params = [part for part in layer.get("param", []) if isinstance(part, dict)]
    return NetLayer(
        name,
        type_,
        tuple(_words(layer, "bottom")),
        tuple(_words(layer, "top")),
        {
            option: _value(file, f"layer {name}, {option}", option, _words(norm, option)[-1])
            for option in OPTIONS
            if _words(norm, option)
        },
        per_channel=all(_words(scale, key)[-1:] in ([], ["1"]) for key in ("axis", "num_axes")),
        groups=groups,
        transposed=bool(transposed) and transposed[0][0] in "tT1",
        axis=_axis(layer),
        shares=tuple(name for part in params for name in _words(part, "name")),
    )


def _axis(layer: Message) -> int:
    """Return on which axis the channels of the output lie; -1 for any but the usual one."""
    parts = (_part(layer, "convolution_param"), _part(layer, "inner_product_param"))
    words = [word for part in parts for word in _words(part, "axis")]
    if not words:
        return 1
    return 1 if words[-1] == "1" else -1


def _part(layer: Message, name: str) -> Message:
    """Return a message in a message, or an empty message where it is missing."""
    return next((part for part in layer.get(name, []) if isinstance(part, dict)), {})


def _words(message: Message, name: str) -> list[str]:
    return [value for value in message.get(name, []) if isinstance(value, str)]


def _value(file: str, place: str, option: str, word: str) -> FileOption:
    if option == "use_global_stats":
        if word not in {"true", "false", "1", "0", "t", "f", "True", "False"}:
            raise FileError.malformed(file, place, "be true or false", word)
        return word[0] in "tT1"
    try:
        return float32(float(word.rstrip("fF")))
    except (ValueError, OverflowError) as error:
        raise FileError.malformed(file, place, "be a number", word) from error

"""Take layers out of a Caffe network: out of its prototxt, and out of the .caffemodel itself."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from backnorm.convert.files.caffe import _fields as fields
from backnorm.convert.files.caffe._blob import blob_message
from backnorm.convert.files.caffe._prototxt import fields_of_prototxt
from backnorm.convert.files.caffe._wire import encode

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from backnorm._types import AnyArray
    from backnorm.convert.files.caffe._prototxt import TextField
    from backnorm.convert.files.caffe._wire import Span, Wire

__all__ = ["Rewiring", "rewired_file", "rewired_text"]

PARAMETERS = ("convolution_param", "inner_product_param")


@dataclass(frozen=True, slots=True)
class Rewiring:
    """What becomes of a layer into which those after it were folded.

    Attributes
    ----------
    last
        The last of them, whose output the layer now has.
    blobs
        The layer's weights and bias.
    """

    last: str
    blobs: tuple[AnyArray, AnyArray]


def rewired_text(
    file: str, text: str, removed: Iterable[str], changed: Mapping[str, Rewiring]
) -> str:
    """Return a prototxt without some layers; all else, comments too, stays as it is.

    Parameters
    ----------
    file
        Its name, for messages.
    text
        What it holds.
    removed
        The names of the layers that go.
    changed
        By their names, the layers that get a bias and another output.

    Returns
    -------
    str
        The new text.
    """
    layers = [field for field in fields_of_prototxt(file, text) if field.name == "layer"]
    named = {_text_of(layer, "name"): layer for layer in layers}
    gone = set(removed)
    edits: list[tuple[int, int, str]] = []
    for layer in layers:
        name = _text_of(layer, "name")
        if name in gone:
            edits.append((*_whole_lines(text, layer), ""))
        elif name in changed:
            (top,) = _inside(named[changed[name].last], "top")[:1]
            edits += [
                (field.first, field.end, text[top.first : top.end])
                for field in _inside(layer, "top")
            ]
            edits += [
                (field.first, field.end, "true")
                for part in PARAMETERS
                for message in _inside(layer, part)
                for field in _inside(message, "bias_term")
            ]
    for start, end, new in sorted(edits, reverse=True):
        text = text[:start] + new + text[end:]
    return text


def _inside(field: TextField, name: str) -> list[TextField]:
    parts = field.value if isinstance(field.value, tuple) else ()
    return [part for part in parts if part.name == name]


def _text_of(layer: TextField, name: str) -> str:
    values = [field.value for field in _inside(layer, name)]
    return values[0] if values and isinstance(values[0], str) else ""


def _whole_lines(text: str, layer: TextField) -> tuple[int, int]:
    """Return where a layer begins and ends, with its lines where nothing else stands in them."""
    before = re.search(r"[ \t]*$", text[: layer.start])
    after = re.match(r"[ \t]*\n", text[layer.end :])
    start = layer.start - len(before[0] if before else "")
    if after is None or (start and text[start - 1] != "\n"):
        return layer.start, layer.end
    return start, layer.end + len(after[0])


def rewired_file(wire: Wire, removed: Iterable[str], changed: Mapping[str, Rewiring]) -> bytes:
    """Return the bytes of a .caffemodel without some layers; all other layers stay as they are.

    Parameters
    ----------
    wire
        The file.
    removed, changed
        As for `rewired_text`.

    Returns
    -------
    bytes
        The new file.
    """
    spans = list(wire.fields(0, len(wire.data), "the network"))
    named = {_name(wire, span): span for span in spans if span.number == fields.LAYER}
    gone, parts, at = set(removed), [], 0
    for span in spans:
        name = _name(wire, span) if span.number == fields.LAYER else ""
        if name in changed:
            last = named.get(changed[name].last)
            tops = [] if last is None else _contents(wire, last, fields.TOP)
            layer = b"".join(_layer(wire, span, tops[:1], changed[name].blobs))
            parts.append(encode(fields.LAYER, layer))
        elif name not in gone:
            parts.append(wire.data[at : span.end])
        at = span.end
    return b"".join(parts)


def _layer(
    wire: Wire, layer: Span, tops: list[bytes], blobs: tuple[AnyArray, AnyArray]
) -> Iterator[bytes]:
    """Yield the fields of a layer with another output, other blobs, and without bias_term."""
    at, index = layer.start, 0
    place = f"layer {_name(wire, layer)}"
    for span in wire.fields(layer.start, layer.end, place):
        if span.number == fields.TOP and tops:
            yield encode(fields.TOP, tops[0])
        elif span.number == fields.BLOBS:
            yield encode(fields.BLOBS, blob_message(wire.file, place, blobs[index]))
            index += 1
        elif span.number in (fields.CONVOLUTION, fields.DENSE):
            yield encode(span.number, b"".join(_without(wire, span, fields.HAS_BIAS)))
        else:
            yield wire.data[at : span.end]
        at = span.end
    for blob in blobs[index:]:
        yield encode(fields.BLOBS, blob_message(wire.file, place, blob))


def _without(wire: Wire, message: Span, number: int) -> Iterator[bytes]:
    at = message.start
    for span in wire.fields(message.start, message.end, "a layer"):
        if span.number != number:
            yield wire.data[at : span.end]
        at = span.end


def _contents(wire: Wire, message: Span, number: int) -> list[bytes]:
    spans = wire.fields(message.start, message.end, "a layer")
    return [wire.data[span.start : span.end] for span in spans if span.number == number]


def _name(wire: Wire, layer: Span) -> str:
    return b"".join(_contents(wire, layer, fields.NAME)[-1:]).decode()

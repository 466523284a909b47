"""The layers of a .caffemodel as the file itself has them: options, wiring, and where blobs lie."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from backnorm.convert.files.caffe import _fields as fields
from backnorm.convert.files.caffe._blob import read_blob
from backnorm.convert.files.caffe._kernels import V1_TYPES
from backnorm.convert.files.caffe._net import NetLayer
from backnorm.convert.files.caffe._wire import BYTES, FIXED32, VARINT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from backnorm.convert.files._slots import Slot
    from backnorm.convert.files.caffe._wire import Span, Wire
    from backnorm.convert.files.record import FileOption

__all__ = ["FileLayer", "file_layers"]


@dataclass(frozen=True, slots=True)
class FileLayer:
    """A layer of the file: what it says of itself, and where its blobs lie."""

    net: NetLayer
    blobs: tuple[Slot, ...]


def file_layers(wire: Wire) -> Iterator[FileLayer]:
    """Yield the layers in the order of the file.

    Parameters
    ----------
    wire
        The file.

    Yields
    ------
    FileLayer
        V1 layers too, whose types are named if they can have kernels.

    Raises
    ------
    FileError
        Naming the layer and the field.
    """
    for span in wire.fields(0, len(wire.data), "the network"):
        if span.number in (fields.LAYER, fields.V1_LAYER):
            wire.expect(span, BYTES, "the network, layer")
            yield _layer(wire, span, v1=span.number == fields.V1_LAYER)


def _layer(wire: Wire, layer: Span, *, v1: bool) -> FileLayer:
    place = f"the layer at byte {layer.start}"
    known = fields.V1_FIELDS if v1 else fields.FIELDS
    texts: dict[int, list[str]] = {
        number: [] for number in (fields.NAME, fields.TYPE, fields.BOTTOM, fields.TOP)
    }
    details: dict[str, Any] = {}
    shares: list[str] = []
    blobs: list[Slot] = []
    for span in wire.fields(layer.start, layer.end, place):
        field = known.get(span.number)
        where = f"layer {''.join(texts[fields.NAME][-1:])}"
        if field == fields.TYPE and v1:
            wire.expect(span, VARINT, f"{place}, type")
            texts[field].append(V1_TYPES.get(span.value, ""))
        elif field in texts:
            texts[field].append(
                wire.text(span, f"{place}, name" if field == fields.NAME else place)
            )
        elif field == fields.PARAM:
            shares += _shared(wire, span, f"{where}, param")
        elif field == fields.BLOBS:
            blobs.append(read_blob(wire, span, f"{where}, blob {len(blobs)}"))
        elif field is not None:
            details |= _details(wire, field, span, where)
    name, type_ = ("".join(texts[field][-1:]) for field in (fields.NAME, fields.TYPE))
    bottoms, tops = tuple(texts[fields.BOTTOM]), tuple(texts[fields.TOP])
    return FileLayer(
        NetLayer(name, type_, bottoms, tops, shares=tuple(shares), **details), tuple(blobs)
    )


def _details(wire: Wire, field: int, span: Span, where: str) -> dict[str, Any]:
    """Return what a layer's own message tells, as attributes of NetLayer."""
    if field == fields.NORM:
        return {"options": _norm_options(wire, span, f"{where}, batch_norm_param")}
    if field == fields.SCALE:
        return {"per_channel": _is_per_channel(wire, span, f"{where}, scale_param")}
    if field == fields.CONVOLUTION:
        numbers = _numbers(wire, span, f"{where}, convolution_param")
        groups = numbers.get(fields.GROUP, 1)
        return {"groups": groups, "axis": numbers.get(fields.CONVOLUTION_AXIS, 1)}
    numbers = _numbers(wire, span, f"{where}, inner_product_param")
    transposed = bool(numbers.get(fields.TRANSPOSE, 0))
    return {"transposed": transposed, "axis": numbers.get(fields.DENSE_AXIS, 1)}


def _shared(wire: Wire, message: Span, place: str) -> Iterator[str]:
    """Yield the name under which a layer shares a blob."""
    wire.expect(message, BYTES, place)
    for span in wire.fields(message.start, message.end, place):
        if span.number == fields.SHARED_NAME:
            yield wire.text(span, place)


def _numbers(wire: Wire, message: Span, place: str) -> dict[int, int]:
    """Return the whole numbers in a message, the last of each field."""
    wire.expect(message, BYTES, place)
    spans = wire.fields(message.start, message.end, place)
    return {span.number: span.value for span in spans if span.wire == VARINT}


def _norm_options(wire: Wire, message: Span, place: str) -> dict[str, FileOption]:
    wire.expect(message, BYTES, place)
    options: dict[str, FileOption] = {}
    for span in wire.fields(message.start, message.end, place):
        if span.number == fields.GLOBAL:
            wire.expect(span, VARINT, f"{place}, use_global_stats")
            options["use_global_stats"] = bool(span.value)
        elif span.number in (fields.FRACTION, fields.EPS):
            name = "eps" if span.number == fields.EPS else "moving_average_fraction"
            wire.expect(span, FIXED32, f"{place}, {name}")
            options[name] = float(np.frombuffer(wire.data, "<f4", 1, span.start)[0])
    return options


def _is_per_channel(wire: Wire, message: Span, place: str) -> bool:
    wire.expect(message, BYTES, place)
    spans = wire.fields(message.start, message.end, place)
    return all(span.value == 1 for span in spans if span.number in (fields.AXIS, fields.NUM_AXES))

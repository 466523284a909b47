"""Caffe: .caffemodel, with the .prototxt beside it where there is one.

A ``NetParameter`` holds the layers' blobs and, as Caffe saves it, the layers' options and wiring
too. A prototxt beside it, or one that is named, comes before those. Files with V1 layers are
carried through: BatchNorm and Scale are younger than V1, and have no number in it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from backnorm.convert.files._flat import distinct, options_by
from backnorm.convert.files._slots import Slots, array_in, write_over
from backnorm.convert.files.caffe._blob import blob_message, read_blob
from backnorm.convert.files.caffe._net import NetLayer, layers_of_prototxt, scale_of
from backnorm.convert.files.caffe._wire import BYTES, FIXED32, VARINT, Wire, encode, fixed32
from backnorm.convert.files.record import ModelFile, NormLayer
from backnorm.convert.files.registry import Format, register
from backnorm.errors import FileError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from backnorm.convert.files._slots import Slot
    from backnorm.convert.files.caffe._wire import Span
    from backnorm.convert.files.record import FileOption

__all__ = ["FORMAT"]

V1_LAYER: Final = 2
"""``NetParameter.layers``."""

LAYER: Final = 100
"""``NetParameter.layer``."""

NAME, TYPE, BOTTOM, TOP, BLOBS, NORM, SCALE = 1, 2, 3, 4, 7, 139, 142
"""Fields of ``LayerParameter``."""

V1_NAME, V1_BLOBS = 4, 6
"""Fields of ``V1LayerParameter``."""

GLOBAL, FRACTION, EPS = 1, 2, 3
"""Fields of ``BatchNormParameter``."""

AXIS, NUM_AXES, BIAS_TERM = 1, 2, 4
"""Fields of ``ScaleParameter``."""

NORM_FIELDS: Final = ("mean", "variance", "scale_factor")
SCALE_FIELDS: Final = ("gamma", "beta")


@dataclass(frozen=True, slots=True)
class _FileLayer:
    """A layer of the file: what it says of itself, and where its blobs lie."""

    net: NetLayer
    blobs: tuple[Slot, ...]


def read(path: Path, data: bytes, net: Path | None) -> ModelFile:
    """Read the layers of a .caffemodel."""
    wire = Wire(path.name, data)
    stored = list(_layers(wire))
    blobs = {layer.net.name: layer.blobs for layer in stored}
    description, notes = _description(path, net, [layer.net for layer in stored])
    layers, places = [], {}
    for index, layer in enumerate(description):
        if layer.type == "BatchNorm" and blobs.get(layer.name):
            slots = _slots_of(path.name, layer, scale_of(description, index), blobs)
            places.update({(layer.name, field): slot for field, slot in slots.items()})
            state = {
                field: array_in(path.name, f"layer {layer.name}, {field}", data, slot)
                for field, slot in slots.items()
            }
            options = {**options_by("caffe", state), **layer.options}
            layers.append(NormLayer(layer.name, "caffe", state, options))
    rest = _rest(stored, set(map(id, places.values())))
    others = {
        name: array_in(path.name, name, data, slot) for name, slot in rest.items() if slot.pieces
    }
    notes += tuple(
        f"{name} has no values that can be read; it is left as it is"
        for name, slot in rest.items()
        if not slot.pieces
    )
    return ModelFile(path, "caffemodel", tuple(layers), others, notes, Slots(data, places))


def _description(
    path: Path, net: Path | None, own: list[NetLayer]
) -> tuple[list[NetLayer], tuple[str, ...]]:
    """Return the layers of the prototxt, or those that the file itself describes."""
    beside = net or path.with_suffix(".prototxt")
    if net is None and not beside.is_file():
        return own, (f"no {beside.name} beside: eps and wiring are those in {path.name} itself",)
    try:
        text = beside.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise FileError.unreadable(beside.name, error) from error
    return layers_of_prototxt(beside.name, text), ()


def _slots_of(
    file: str, norm: NetLayer, scale: NetLayer | None, blobs: dict[str, tuple[Slot, ...]]
) -> dict[str, Slot]:
    """Name the blobs of a BatchNorm layer and of its Scale layer; each is a row of numbers."""
    own = blobs[norm.name]
    if len(own) != len(NORM_FIELDS):
        raise FileError.malformed(
            file,
            f"layer {norm.name}, blobs",
            "be 3: mean, variance and scale factor",
            f"{len(own)}",
        )
    fields = dict(zip(NORM_FIELDS, own, strict=True))
    if scale is not None and blobs.get(scale.name):
        fields |= dict(zip(SCALE_FIELDS, blobs[scale.name], strict=False))
    return fields


def _rest(stored: Sequence[_FileLayer], taken: set[int]) -> dict[str, Slot]:
    """Name the blobs that belong to no normalization, by their layer and number."""
    return {
        f"{layer.net.name}.{index}": slot
        for layer in stored
        for index, slot in enumerate(layer.blobs)
        if id(slot) not in taken
    }


def _layers(wire: Wire) -> Iterator[_FileLayer]:
    for span in wire.fields(0, len(wire.data), "the network"):
        if span.number in (LAYER, V1_LAYER):
            wire.expect(span, BYTES, "the network, layer")
            yield _layer(wire, span, v1=span.number == V1_LAYER)


def _layer(wire: Wire, layer: Span, *, v1: bool) -> _FileLayer:
    place = f"the layer at byte {layer.start}"
    texts: dict[int, list[str]] = {NAME: [""], TYPE: [""], BOTTOM: [], TOP: []}
    options: dict[str, FileOption] = {}
    blobs: list[Slot] = []
    per_channel = True
    name_field, blobs_field = (V1_NAME, V1_BLOBS) if v1 else (NAME, BLOBS)
    for span in wire.fields(layer.start, layer.end, place):
        if span.number == name_field:
            texts[NAME].append(wire.text(span, f"{place}, name"))
        elif span.number == blobs_field:
            where = f"layer {texts[NAME][-1]}, blob {len(blobs)}"
            blobs.append(read_blob(wire, span, where))
        elif not v1 and span.number in texts:
            texts[span.number].append(wire.text(span, place))
        elif not v1 and span.number == NORM:
            options = _norm_options(wire, span, f"layer {texts[NAME][-1]}, batch_norm_param")
        elif not v1 and span.number == SCALE:
            per_channel = _is_per_channel(wire, span, f"layer {texts[NAME][-1]}, scale_param")
    name, type_, bottoms, tops = texts.values()
    net = NetLayer(name[-1], type_[-1], tuple(bottoms), tuple(tops), options, per_channel)
    return _FileLayer(net, tuple(blobs))


def _norm_options(wire: Wire, message: Span, place: str) -> dict[str, FileOption]:
    wire.expect(message, BYTES, place)
    options: dict[str, FileOption] = {}
    for span in wire.fields(message.start, message.end, place):
        if span.number == GLOBAL:
            wire.expect(span, VARINT, f"{place}, use_global_stats")
            options["use_global_stats"] = bool(span.value)
        elif span.number in (FRACTION, EPS):
            name = "eps" if span.number == EPS else "moving_average_fraction"
            wire.expect(span, FIXED32, f"{place}, {name}")
            options[name] = float(np.frombuffer(wire.data, "<f4", 1, span.start)[0])
    return options


def _is_per_channel(wire: Wire, message: Span, place: str) -> bool:
    wire.expect(message, BYTES, place)
    spans = wire.fields(message.start, message.end, place)
    return all(span.value == 1 for span in spans if span.number in (AXIS, NUM_AXES))


def write(model: ModelFile) -> bytes:
    """Write over the file that was read, or make one of BatchNorm, Scale and Parameter layers."""
    if isinstance(model.content, Slots):
        return write_over(model, model.content)
    messages = distinct(model.path.name, _messages(model)).values()
    return encode(NAME, "backnorm") + b"".join(encode(LAYER, message) for message in messages)


def _messages(model: ModelFile) -> Iterator[tuple[str, bytes]]:
    """Yield all layers of a new network, by their names."""
    for layer in model.layers:
        yield from _pair(model.path.name, layer)
    for name, array in model.others.items():
        blob = encode(BLOBS, blob_message(model.path.name, name, array))
        yield name, _head(name, "Parameter", (), name) + blob


def _head(name: str, type_: str, bottoms: tuple[str, ...], top: str) -> bytes:
    texts = [(NAME, name), (TYPE, type_), *((BOTTOM, bottom) for bottom in bottoms), (TOP, top)]
    return b"".join(encode(number, text) for number, text in texts)


def _pair(file: str, layer: NormLayer) -> Iterator[tuple[str, bytes]]:
    """A BatchNorm layer, and a Scale layer where there is a gamma."""
    name, state = layer.name, layer.state
    options = b"".join(
        fixed32(number, np.float32(layer.options[option]).tobytes())
        for number, option in ((FRACTION, "moving_average_fraction"), (EPS, "eps"))
        if option in layer.options
    )
    yield (
        name,
        _head(name, "BatchNorm", (f"{name}_in",), f"{name}_norm")
        + b"".join(encode(BLOBS, blob_message(file, name, state[field])) for field in NORM_FIELDS)
        + (encode(NORM, options) if options else b""),
    )
    if "gamma" in state:
        fields = [field for field in SCALE_FIELDS if field in state]
        yield (
            f"{name}_scale",
            _head(f"{name}_scale", "Scale", (f"{name}_norm",), f"{name}_out")
            + b"".join(encode(BLOBS, blob_message(file, name, state[field])) for field in fields)
            + encode(SCALE, encode(BIAS_TERM, int("beta" in state))),
        )


FORMAT: Final = Format("caffemodel", ("caffe",), read, write)

register(FORMAT)

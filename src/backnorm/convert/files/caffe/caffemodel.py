"""Caffe: .caffemodel, with the .prototxt beside it where there is one.

A ``NetParameter`` holds the layers' blobs and, as Caffe saves it, the layers' options and wiring
too. A prototxt beside it, or one that is named, comes before those. Files with V1 layers are
carried through: BatchNorm and Scale are younger than V1, and have no number in it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np

from backnorm.convert.files._budget import Budget, Source
from backnorm.convert.files._content import InMemory
from backnorm.convert.files._flat import options_by
from backnorm.convert.files._flat_kernels import kernels_by_name
from backnorm.convert.files._holds import Holds, check_name, distinct, fitting
from backnorm.convert.files._slots import Slots, array_in, write_over
from backnorm.convert.files.caffe import _fields as fields
from backnorm.convert.files.caffe._beside import Prototxt, notes_on, prototxt_of
from backnorm.convert.files.caffe._blob import as_row, blob_message
from backnorm.convert.files.caffe._fold import NetFolder
from backnorm.convert.files.caffe._kernels import kernels_of
from backnorm.convert.files.caffe._layers import FileLayer, file_layers
from backnorm.convert.files.caffe._net import NetLayer, scale_of
from backnorm.convert.files.caffe._rewire import rewired_file, rewired_text
from backnorm.convert.files.caffe._wire import Wire, encode, fixed32
from backnorm.convert.files.folding._law import layer_fold
from backnorm.convert.files.record import ModelFile, NormLayer
from backnorm.convert.files.registry import Format, register
from backnorm.errors import FileError, FoldError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from backnorm._types import AnyArray
    from backnorm.convert.files._slots import Slot
    from backnorm.convert.files.record import LayerFold

__all__ = ["FORMAT"]

NORM_FIELDS: Final = ("mean", "variance", "scale_factor")
HOLDS: Final = Holds(kinds="biuf", widens=True, axes=32)
"""Caffe's own limit of axes."""

SCALE_FIELDS: Final = ("gamma", "beta")

PARAMETER: Final = "Parameter"
"""The class of a layer that holds one array, and computes nothing."""


@dataclass(frozen=True, slots=True, eq=False)
class _Network:
    """The bytes of the file, where the layers' arrays lie, and the description beside."""

    slots: Slots
    prototxt: Prototxt | None


def read(source: Source) -> ModelFile:
    """Read the layers of a .caffemodel."""
    stored = list(file_layers(Wire(source.path.name, source.data, source.budget)))
    own = [layer.net for layer in stored]
    prototxt = prototxt_of(source.path, source.net, own)
    model = _read(source, stored, prototxt)
    notes = notes_on(source.path.name, prototxt, own)
    return replace(model, notes=(*notes, *model.notes))


def _read(source: Source, stored: Sequence[FileLayer], prototxt: Prototxt | None) -> ModelFile:
    path, budget, content = source.path, source.budget, InMemory(source.data)
    blobs = {layer.net.name: layer.blobs for layer in stored}
    description = _description(stored, prototxt)
    layers, places = [], {}
    for index, layer in enumerate(description):
        if layer.type == "BatchNorm" and blobs.get(layer.name):
            slots = _slots_of(path.name, layer, scale_of(description, index), blobs)
            places.update({(layer.name, field): slot for field, slot in slots.items()})
            state = {
                field: array_in(budget, f"layer {layer.name}, {field}", content, as_row(slot))
                for field, slot in slots.items()
            }
            options = {**options_by("caffe", state), **layer.options}
            layers.append(NormLayer(layer.name, "caffe", state, options))
    rest = _rest(stored, set(map(id, places.values())))
    others = {
        name: array_in(budget, name, content, slot) for name, slot in rest.items() if slot.pieces
    }
    notes = tuple(
        f"{name} has no values that can be read; it is left as it is"
        for name, slot in rest.items()
        if not slot.pieces
    )
    kernels = kernels_of(_with_own(description, stored), others)
    alone = {layer.net.name for layer in stored if layer.net.type == PARAMETER}
    named = {name: array.shape for name, array in others.items() if name in alone}
    kernels += kernels_by_name(layers, named)
    kept = _Network(Slots(content, places), prototxt)
    return ModelFile(path, "caffemodel", tuple(layers), others, notes, kept, kernels)


def _with_own(description: list[NetLayer], stored: Sequence[FileLayer]) -> list[NetLayer]:
    """Return the layers of the description, or those of the file if it describes others."""
    names = {layer.name for layer in description}
    own = [layer.net for layer in stored]
    return description if all(layer.name in names for layer in own) else own


def _description(stored: Sequence[FileLayer], prototxt: Prototxt | None) -> list[NetLayer]:
    """Return the layers of the prototxt, or those that the file itself describes."""
    return [layer.net for layer in stored] if prototxt is None else prototxt.layers()


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
    state = dict(zip(NORM_FIELDS, own, strict=True))
    if scale is not None and blobs.get(scale.name):
        state |= dict(zip(SCALE_FIELDS, blobs[scale.name], strict=False))
    return state


def _rest(stored: Sequence[FileLayer], taken: set[int]) -> dict[str, Slot]:
    """Name the blobs that belong to no normalization, by their layer and number.

    A layer that holds one array and computes nothing gives the array its name, if that is free.
    """
    rest = {
        f"{layer.net.name}.{index}": (layer, slot)
        for layer in stored
        for index, slot in enumerate(layer.blobs)
        if id(slot) not in taken
    }
    named = {}
    for name, (layer, slot) in rest.items():
        alone = layer.net.type == PARAMETER and len(layer.blobs) == 1
        named[layer.net.name if alone and layer.net.name not in rest else name] = slot
    return named


def write(model: ModelFile) -> bytes:
    """Write over the file that was read, or make one of BatchNorm, Scale and Parameter layers."""
    if isinstance(model.content, _Network):
        return write_over(model, model.content.slots)
    messages = distinct(model.path.name, _messages(model)).values()
    layers = b"".join(encode(fields.LAYER, message) for message in messages)
    return encode(fields.NAME, "backnorm") + layers


def fold(model: ModelFile, _: ModelFile | None) -> tuple[ModelFile, tuple[LayerFold, ...]]:
    """Fold the norms of the network that was read, in the file and in the prototxt beside it."""
    network, file = model.content, model.path.name
    if not isinstance(network, _Network):
        raise FoldError.no_graph(file, "caffemodel")
    unlimited = Budget(file, math.inf)  # the reader has let it pass
    content, prototxt = network.slots.content, network.prototxt
    wire = Wire(file, content.whole(), unlimited)
    stored = list(file_layers(wire))
    blobs = {
        layer.net.name: tuple(array_in(unlimited, "", content, slot) for slot in layer.blobs)
        for layer in stored
        if all(slot.pieces for slot in layer.blobs)
    }
    folder = NetFolder(_description(stored, prototxt), blobs, set(), {})
    folds = tuple(map(layer_fold, model.layers, folder.fold(model.layers)))
    if prototxt is not None:
        if "\ufffd" in prototxt.text:  # what stood there is lost
            raise FileError.malformed(prototxt.name, "", "be UTF-8 text", "other bytes")
        text = rewired_text(prototxt.name, prototxt.text, folder.removed, folder.changed)
        prototxt = replace(prototxt, text=text)
    rewired = rewired_file(wire, folder.removed, folder.changed)
    source = Source(model.path, InMemory(rewired), None, unlimited)
    folded = _read(source, list(file_layers(Wire(file, rewired, unlimited))), prototxt)
    beside = {} if prototxt is None else {".prototxt": prototxt.text.encode()}
    return replace(folded, beside=beside), folds


def _messages(model: ModelFile) -> Iterator[tuple[str, bytes]]:
    """Yield all layers of a new network, by their names."""
    for layer in model.layers:
        yield from _pair(model.path.name, layer)
    for name, array in fitting(model.path.name, model.others.items(), HOLDS).items():
        yield name, _head(name, PARAMETER, (), name) + _blobs(model.path.name, name, [array])


def _head(name: str, type_: str, bottoms: tuple[str, ...], top: str) -> bytes:
    texts = [(fields.NAME, name), (fields.TYPE, type_)]
    texts += [*((fields.BOTTOM, bottom) for bottom in bottoms), (fields.TOP, top)]
    return b"".join(encode(number, text) for number, text in texts)


def _blobs(file: str, name: str, arrays: Iterable[AnyArray]) -> bytes:
    return b"".join(encode(fields.BLOBS, blob_message(file, name, array)) for array in arrays)


def _pair(file: str, layer: NormLayer) -> Iterator[tuple[str, bytes]]:
    """A BatchNorm layer, and a Scale layer where there is a gamma."""
    name = check_name(file, layer.name, HOLDS)
    state = fitting(file, layer.state.items(), HOLDS)
    options = b"".join(
        fixed32(number, np.float32(layer.options[option]).tobytes())
        for number, option in ((fields.FRACTION, "moving_average_fraction"), (fields.EPS, "eps"))
        if option in layer.options
    )
    yield (
        name,
        _head(name, "BatchNorm", (f"{name}_in",), f"{name}_norm")
        + _blobs(file, name, (state[field] for field in NORM_FIELDS))
        + (encode(fields.NORM, options) if options else b""),
    )
    if "gamma" in state:
        there = [field for field in SCALE_FIELDS if field in state]
        yield (
            f"{name}_scale",
            _head(f"{name}_scale", "Scale", (f"{name}_norm",), f"{name}_out")
            + _blobs(file, name, (state[field] for field in there))
            + encode(fields.SCALE, encode(fields.BIAS_TERM, int("beta" in state))),
        )


FORMAT: Final = Format("caffemodel", ("caffe",), read, write, fold=fold, has_net=True)

register(FORMAT)

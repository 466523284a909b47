"""Find the normalization layers in files that hold nothing but named arrays.

How a framework spells the names tells its layers: the spellings below are looked for in turn.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Final, TypeVar

from backnorm.convert.files.record import NormLayer
from backnorm.errors import FileError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from backnorm._types import AnyArray
    from backnorm.convert.files.record import ModelFile, Option

__all__ = [
    "DIALECTS",
    "SPELLINGS",
    "Found",
    "Spelling",
    "distinct",
    "find_layers",
    "options_by",
    "spelled",
    "spelling_of",
]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Spelling:
    """How one framework names the arrays of a layer.

    Attributes
    ----------
    dialect
        Whose names these are.
    keys
        For each field of the state the name in the file, with {} for the layer's.
    needed
        The fields without which it is no such layer.
    """

    dialect: str
    keys: Mapping[str, str]
    needed: tuple[str, ...]


def _fields(dialect: str, pattern: str, needed: int, names: str, last: str = "") -> Spelling:
    """Spell all fields alike; needed counts from the end of names."""
    fields = names.split()
    keys = {field: pattern.replace("*", field) for field in fields}
    keys |= {field: pattern.replace("*", field) for field in last.split()}
    return Spelling(dialect, keys, tuple(fields[len(fields) - needed :]))


_GLUON: Final = {"moving_mean": "running_mean", "moving_var": "running_var"}


def _mxnet(layer: str, argument: str = "", auxiliary: str = "", *, gluon: bool) -> Spelling:
    """MXNet's parameters: Gluon stores the moving statistics as running ones."""
    places = {"gamma": argument, "beta": argument, "moving_mean": auxiliary}
    places["moving_var"] = auxiliary
    keys = {
        field: place + layer + (_GLUON.get(field, field) if gluon else field)
        for field, place in places.items()
    }
    return Spelling("mxnet", keys, tuple(keys))


SPELLINGS: Final[tuple[Spelling, ...]] = (
    _mxnet("{}_", "arg:", "aux:", gluon=False),
    _mxnet("{}_", "arg:", "aux:", gluon=True),
    _mxnet("{}.", gluon=True),
    _mxnet("{}_", gluon=True),
    _mxnet("{}_", gluon=False),
    _fields("caffe", "{}.*", 3, "gamma beta mean variance scale_factor"),
    _fields("keras", "{}/*", 2, "gamma beta moving_mean moving_variance"),
    _fields("onnx-15", "{}.*", 4, "scale B input_mean input_var"),
    _fields("torch", "{}.*", 2, "weight bias running_mean running_var", "num_batches_tracked"),
    Spelling(
        "flax",
        {
            "scale": "params/{}/scale",
            "bias": "params/{}/bias",
            "mean": "batch_stats/{}/mean",
            "var": "batch_stats/{}/var",
        },
        ("mean", "var"),
    ),
    _fields("flax", "{}/*", 2, "scale bias mean var"),
)
"""In this order: what needs more comes before what a part of it would do for."""

DIALECTS: Final = ("torch", "keras", "flax", "mxnet", "caffe", "onnx-15")
"""Those with a spelling, the first where none is named."""


def spelling_of(dialect: str) -> Spelling:
    """Return how new files spell a dialect's names."""
    plain = {"{}.gamma"} if dialect == "mxnet" else set()
    return next(
        spelling
        for spelling in SPELLINGS
        if spelling.dialect == dialect and plain <= set(spelling.keys.values())
    )


ABSENT: Final[dict[str, dict[str, str]]] = {
    "torch": {"weight": "affine", "bias": "bias"},
    "keras": {"gamma": "scale", "beta": "center"},
    "flax": {"scale": "use_scale", "bias": "use_bias"},
    "caffe": {"gamma": "scale", "beta": "bias_term"},
}
"""For arrays that a layer may lack, the option that tells whether it does."""


@dataclass(frozen=True, slots=True)
class Found:
    """What was found among named arrays.

    Attributes
    ----------
    layers
        The normalization layers, in the order of their statistics.
    keys
        For each layer's name and field, the name in the file.
    others
        The rest.
    """

    layers: tuple[NormLayer, ...]
    keys: Mapping[tuple[str, str], str]
    others: Mapping[str, AnyArray]


def find_layers(arrays: Mapping[str, AnyArray], spellings: Sequence[Spelling] = SPELLINGS) -> Found:
    """Sort named arrays into normalization layers and the rest.

    Parameters
    ----------
    arrays
        All arrays, by their names in the file.
    spellings
        What to look for.

    Returns
    -------
    Found
        Each array in one place.
    """
    keys: dict[tuple[str, str], str] = {}
    layers: dict[str, str] = {}
    taken: set[str] = set()
    for spelling in spellings:
        for layer, there in _layers_of(arrays.keys() - taken, arrays, spelling):
            if layer not in layers:
                layers[layer] = spelling.dialect
                keys |= {(layer, field): key for field, key in there.items()}
                taken.update(there.values())
    order = {key: index for index, key in enumerate(arrays)}
    first = {layer: min(order[k] for (n, _), k in keys.items() if n == layer) for layer in layers}
    return Found(
        tuple(
            NormLayer(
                layer,
                layers[layer],
                state := {f: arrays[key] for (name, f), key in keys.items() if name == layer},
                options_by(layers[layer], state),
            )
            for layer in sorted(layers, key=first.__getitem__)
        ),
        keys,
        {key: array for key, array in arrays.items() if key not in taken},
    )


def options_by(dialect: str, state: Mapping[str, AnyArray]) -> dict[str, Option]:
    """Return the options that follow from which arrays a layer has.

    Parameters
    ----------
    dialect
        Whose layer it is.
    state
        Its arrays.

    Returns
    -------
    dict
        Those that tell of gamma and beta.
    """
    return {option: field in state for field, option in ABSENT.get(dialect, {}).items()}


def _layers_of(
    free: set[str], arrays: Mapping[str, AnyArray], spelling: Spelling
) -> Iterator[tuple[str, dict[str, str]]]:
    """Each layer of one spelling whose needed arrays are all there, and the names of its own."""
    last = spelling.needed[-1]
    before, _, after = spelling.keys[last].partition("{}")
    alone = key_of(spelling, last, "")
    for key in arrays:
        if key == alone or (key.startswith(before) and key.endswith(after)):
            layer = "" if key == alone else key[len(before) : len(key) - len(after)]
            names = {field: key_of(spelling, field, layer) for field in spelling.keys}
            if all(names[field] in free for field in spelling.needed):
                yield layer, {field: name for field, name in names.items() if name in free}


def key_of(spelling: Spelling, field: str, layer: str) -> str:
    """Return the name in the file; a file of nothing but one layer has no name for that."""
    before, _, after = spelling.keys[field].partition("{}")
    return before + (layer + after if layer else after[1:])


def spelled(model: ModelFile, spelling: Spelling) -> dict[str, AnyArray]:
    """Name all arrays of a model, those of its layers as a framework does.

    Parameters
    ----------
    model
        With layers of the spelling's dialect.
    spelling
        How to name them.

    Returns
    -------
    dict
        Name in the file to array.

    Raises
    ------
    FileError
        If two arrays go by one name.
    """
    own = (
        (key_of(spelling, field, layer.name), array)
        for layer in model.layers
        for field, array in layer.state.items()
    )
    return distinct(model.path.name, chain(own, model.others.items()))


def distinct(file: str, named: Iterable[tuple[str, T]]) -> dict[str, T]:
    """Collect what goes into a new file by its names, each of which must be there once.

    Parameters
    ----------
    file
        For messages.
    named
        Names, and what they stand for.

    Returns
    -------
    dict
        In the same order.

    Raises
    ------
    FileError
        Naming what is there twice: one would silently take the place of the other.
    """
    collected: dict[str, T] = {}
    for name, content in named:
        if name in collected:
            raise FileError.twice(file, name)
        collected[name] = content
    return collected

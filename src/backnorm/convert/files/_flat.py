"""Find the normalization layers in files that hold named arrays and nothing else.

Each framework spells the names in its way: the spellings below are looked for in turn. What a
layer's arrays are called, and which of them it may lack, stands in the row of its dialect.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain
from operator import itemgetter
from typing import TYPE_CHECKING, Final

from backnorm.convert.files._arrays import shapes_of, without
from backnorm.convert.files._flat_kernels import kernels_by_name
from backnorm.convert.files._holds import fitting
from backnorm.convert.files._notes import grouped
from backnorm.convert.files.record import NormLayer
from backnorm.convert.files.untold import untold_of
from backnorm.dialects import row_of
from backnorm.errors.base import name_in

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from backnorm._types import AnyArray
    from backnorm.convert.files._holds import Holds
    from backnorm.convert.files.record import FileOption, LayerKernel, ModelFile

__all__ = [
    "DIALECTS",
    "SPELLINGS",
    "SortedArrays",
    "Spelling",
    "find_layers",
    "options_by",
    "spelled",
    "spelling_for",
    "spellings_of",
    "torn_layers",
]


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
        The fields that every such layer has.
    alone
        Whether only this framework spells names so, and so the file tells the estimator.
    """

    dialect: str
    keys: Mapping[str, str]
    needed: tuple[str, ...]
    alone: bool = False


def _spelling(
    dialect: str,
    fixed: str,
    moving: str = "",
    renamed: Mapping[str, str] | None = None,
    *,
    alone: bool = False,
) -> Spelling:
    """Spell every array of a dialect.

    Parameters
    ----------
    dialect
        Whose arrays.
    fixed, moving
        The name in the file, with {} for the layer's and * for the array's; the second is for mean
        and variance, where they are spelled otherwise.
    renamed
        The arrays that go by another name.
    alone
        Whether only this framework spells names so.
    """
    row = row_of(dialect)
    may_lack = {"gamma": row.gamma_options.known, "beta": row.beta_options.known}
    keys, needed = {}, []
    for array in row.arrays.known:
        pattern = moving if moving and array.role in {"mean", "var"} else fixed
        keys[array.name] = pattern.replace("*", (renamed or {}).get(array.name, array.name))
        if not array.optional and not may_lack.get(array.role):
            needed.append(array.name)
    return Spelling(dialect, keys, tuple(needed), alone)


_GLUON: Final = {"moving_mean": "running_mean", "moving_var": "running_var"}

SPELLINGS: Final[tuple[Spelling, ...]] = (
    _spelling("mxnet", "{}.*", renamed=_GLUON),
    _spelling("mxnet", "{}_*", renamed=_GLUON),
    _spelling("mxnet", "{}_*"),
    _spelling("mxnet", "arg:{}_*", "aux:{}_*", renamed=_GLUON),
    _spelling("mxnet", "arg:{}_*", "aux:{}_*"),
    _spelling("caffe", "{}.*"),
    _spelling("keras", "{}/*", alone=True),  # MindSpore's names have dots
    _spelling("onnx-15", "{}.*"),
    _spelling("torch", "{}.*"),
    _spelling("flax", "params/{}/*", "batch_stats/{}/*"),
    _spelling("flax", "{}/*"),
)
"""A spelling that needs more arrays comes before one that needs a part of them. New files take the
first of their dialect."""

STATISTICS: Final = ("running_", "moving_")
"""How the names of statistics begin, where no other array has such a name."""

TORN: Final = "statistics of a layer that lacks other arrays; it is not converted"

DIALECTS: Final = tuple(dict.fromkeys(spelling.dialect for spelling in SPELLINGS))
"""Those with a spelling."""


def spelling_for(dialect: str) -> Spelling:
    """Return how a new file spells the names of any dialect."""
    return next(iter(spellings_of(dialect)), None) or _spelling(dialect, "{}.*")


def spellings_of(dialect: str) -> tuple[Spelling, ...]:
    """Return how files spell a dialect's names, new files first."""
    return tuple(spelling for spelling in SPELLINGS if spelling.dialect == dialect)


@dataclass(frozen=True, slots=True)
class SortedArrays:
    """Named arrays, sorted into normalization layers and other arrays.

    Attributes
    ----------
    layers
        The normalization layers, in the order of their statistics.
    keys
        For each layer's name and field, the name in the file.
    others
        All other arrays, by their names in the file.
    """

    layers: tuple[NormLayer, ...]
    keys: Mapping[tuple[str, str], str]
    others: Mapping[str, AnyArray]

    @property
    def kernels(self) -> tuple[LayerKernel, ...]:
        """The kernels among the other arrays, as far as names tell."""
        return kernels_by_name(self.layers, shapes_of(self.others))


def find_layers(
    arrays: Mapping[str, AnyArray], spellings: Sequence[Spelling] = SPELLINGS
) -> SortedArrays:
    """Sort named arrays into normalization layers and other arrays.

    Parameters
    ----------
    arrays
        All arrays, by their names in the file.
    spellings
        The names to look for.

    Returns
    -------
    SortedArrays
        Each array in one place.
    """
    keys: dict[tuple[str, str], str] = {}
    layers: dict[str, Spelling] = {}
    taken: set[str] = set()
    for spelling in spellings:
        for layer, names in _layers_of(arrays.keys() - taken, arrays, spelling):
            if layer not in layers:
                layers[layer] = spelling
                keys |= {(layer, field): key for field, key in names.items()}
                taken.update(names.values())
    order = {key: index for index, key in enumerate(arrays)}
    first = {layer: min(order[k] for (n, _), k in keys.items() if n == layer) for layer in layers}
    return SortedArrays(
        tuple(
            NormLayer(
                layer,
                layers[layer].dialect,
                state := {f: arrays[key] for (name, f), key in keys.items() if name == layer},
                options_by(layers[layer].dialect, state),
                untold_of(layers[layer].dialect, state, alone=layers[layer].alone),
            )
            for layer in sorted(layers, key=first.__getitem__)
        ),
        keys,
        without(arrays, taken),
    )


def torn_layers(names: Iterable[str], dialects: Collection[str]) -> tuple[str, ...]:
    """Say which arrays are statistics of a layer that lacks others.

    Parameters
    ----------
    names
        Of the arrays that are in no layer.
    dialects
        Whose names to look for.

    Returns
    -------
    tuple of str
        Notes: such a layer is not converted, and its arrays are carried as they are.
    """
    endings = {
        key.partition("{}")[2]
        for spelling in SPELLINGS
        if spelling.dialect in dialects
        for key in spelling.keys.values()
        if key.partition("{}")[2][1:].startswith(STATISTICS)
    }
    found = [name_in(name) for name in names if name.endswith(tuple(endings))]
    return grouped((name, TORN) for name in found) if endings else ()


def options_by(dialect: str, state: Mapping[str, AnyArray]) -> dict[str, FileOption]:
    """Return the options that follow from which arrays a layer has.

    Where an array exists if several options are all true, the last of them is about it alone.

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
    row = row_of(dialect)
    options = {"gamma": row.gamma_options.known, "beta": row.beta_options.known}
    return {
        str(options[array.role][-1].name): array.name in state
        for array in row.arrays.known
        if options.get(array.role)
    }


def _layers_of(
    free: set[str], arrays: Mapping[str, AnyArray], spelling: Spelling
) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield each layer that has all arrays a spelling needs, and its arrays' names in the file."""
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
    """Return the name in the file; a file that holds one layer alone may not name it."""
    before, _, after = spelling.keys[field].partition("{}")
    return before + (layer + after if layer else after[1:])


def spelled(model: ModelFile, holds: Holds) -> dict[str, AnyArray]:
    """Name all arrays of a new file, those of its layers as their framework does.

    Parameters
    ----------
    model
        With layers of `DIALECTS`.
    holds
        What the format can hold.

    Returns
    -------
    dict
        Name in the file to array.

    Raises
    ------
    FileError
        If two arrays have one name, or the format cannot hold an array or its name.
    """
    of_layers = (
        (key_of(spellings_of(layer.dialect)[0], field, layer.name), array)
        for layer in model.layers
        for field, array in layer.state.items()
    )
    named = list(chain(of_layers, model.others.items()))
    return fitting(model.path.name, _in_order(named, model.order), holds)


def _in_order(
    named: Sequence[tuple[str, AnyArray]], order: Sequence[str]
) -> list[tuple[str, AnyArray]]:
    """Put arrays into an order; one that it lacks stays behind the one before."""
    places = {name: index for index, name in enumerate(order)}
    keys, last = [], -1
    for name, _ in named:
        last = places.get(name, last)
        keys.append(last)
    return [pair for _, pair in sorted(zip(keys, named, strict=True), key=itemgetter(0))]

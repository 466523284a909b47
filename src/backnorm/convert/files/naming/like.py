"""Find the names of another file's arrays by their order and shapes, and never by a guess.

The same network in two frameworks has layers of the same shapes, in the same order where both
files keep the order of the network. Among layers of one shape nothing but the order, or their
names, tells which is which: this is said for each shape.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from backnorm.convert.files._notes import few, grouped
from backnorm.convert.files.naming._parts import NamedPart, parts_of, proposed
from backnorm.convert.files.naming._relayout import UNTOLD
from backnorm.convert.files.naming._twin import (
    filled,
    into_twin,
    without_neutral,
    without_numbers,
    without_training,
)
from backnorm.convert.files.naming.names import names_of, renamed
from backnorm.convert.files.naming.numbers import natural
from backnorm.errors import ArrayNameError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from backnorm.convert.files.record import ModelFile

__all__ = ["NameMatch", "match_names"]


@dataclass(frozen=True, slots=True)
class NameMatch:
    """Which array of a file is which of another.

    Attributes
    ----------
    model
        The model with the other file's names.
    pairs
        The array's name before, and its name now; as `with_names` takes them.
    notes
        What the order alone decides, and what was filled in.
    """

    model: ModelFile
    pairs: tuple[tuple[str, str], ...]
    notes: tuple[str, ...]


def match_names(model: ModelFile, like: ModelFile) -> NameMatch:
    """Name all arrays as another file does.

    Parameters
    ----------
    model
        What will be written, with kernels in the target's layouts.
    like
        A file of the network that will load it, such as one with its initial values.

    Returns
    -------
    NameMatch
        The model with these names.

    Raises
    ------
    ArrayNameError
        If an array has no counterpart of its shape, or several and neither names nor order tell
        which, naming them.

    Examples
    --------
    >>> import numpy as np
    >>> from backnorm.convert import files
    >>> c, w = np.ones(3, np.float32), np.ones((3, 2), np.float32)
    >>> layer = files.NormLayer("bn", "torch", {"running_mean": c, "running_var": c})
    >>> model = files.ModelFile("a.npz", "npz", (layer,), {"fc.0": w})
    >>> twin = files.ModelFile("t.npz", "npz", (layer,), {"head.weight": w})
    >>> files.match_names(model, twin).pairs
    (('fc.0', 'head.weight'),)
    """
    file, other = Path(model.path).name, Path(like.path).name
    dialects = {layer.dialect for layer in model.layers}
    for layer in like.layers:
        if layer.dialect not in dialects:
            raise ArrayNameError.unlike(other, layer.dialect, sorted(dialects))
    model, notes = without_training(model)
    like, passed = without_training(like)
    notes += tuple(f"{other}: {note}" for note in passed)
    model, numbers = without_numbers(model, like)
    notes += numbers
    ours, theirs = parts_of(model, like), parts_of(like, model)
    found = _named_alike(other, ours, theirs)
    taken = {part.main for part in found.values()}
    order = model.ordered and like.ordered
    unclear: list[tuple[list[NamedPart], list[NamedPart]]] = []
    for shape in dict.fromkeys(part.shape for part in (*ours, *theirs)):
        here = [part for part in ours if part.shape == shape and part.main not in found]
        there = [part for part in theirs if part.shape == shape and part.main not in taken]
        if len(here) != len(there):
            names, to = ([part.main for part in parts] for parts in (here, there))
            raise ArrayNameError.unmatched(file, other, names, to, _doubtful(model, here))
        chosen, note = _chosen(here, there, order=order)
        found |= {part.main: to for part, to in chosen}
        notes += tuple(note)
        unclear += [] if chosen or not here else [(here, there)]
    if unclear:
        raise _ambiguous(file, other, unclear, order=order)
    return _named(other, model, like, [(part, found[part.main]) for part in ours], notes)


def _named(
    other: str,
    model: ModelFile,
    like: ModelFile,
    found: Sequence[tuple[NamedPart, NamedPart]],
    notes: tuple[str, ...],
) -> NameMatch:
    """Give a model the names that were found, and the arrays that the other file has."""
    theirs = {layer.name: layer for layer in like.layers}
    ours = {layer.name: layer for layer in model.layers}
    told: list[tuple[str, str]] = []
    for part, to in found:
        if part.norm:
            ours[part.name], more = without_neutral(ours[part.name], theirs[to.name])
            told += more
    slim = replace(model, layers=tuple(ours.values()))
    kept = {name for layer in ours.values() for name in names_of(layer).values()} | set(
        model.others
    )
    pairs = dict(pair for part, to in found for pair in _pairs(other, part, to, kept))
    changed = tuple((old, new) for old, new in pairs.items() if old != new)
    named = renamed(slim, pairs) if changed else slim
    whole = [filled(other, layer, theirs[layer.name]) for layer in named.layers]
    told += [note for _, more in whole for note in more]
    named = replace(named, layers=tuple(layer for layer, _ in whole))
    return NameMatch(into_twin(named, like), changed, (*notes, *grouped(told)))


def _pairs(
    other: str, part: NamedPart, to: NamedPart, kept: Collection[str]
) -> Iterator[tuple[str, str]]:
    """Yield old and new name of each array of a part that is kept."""
    for slot, name in part.arrays.items():
        if name not in kept:
            continue
        if slot not in to.arrays:
            raise ArrayNameError.other_arrays(other, to.name, list(part.arrays), list(to.arrays))
        yield name, to.arrays[slot]


def _named_alike(
    other: str, ours: Sequence[NamedPart], theirs: Sequence[NamedPart]
) -> dict[str, NamedPart]:
    """Return the parts whose names are those of the other file already, by their main names."""
    names = {part.main: part for part in theirs}
    norms = {part.name: part for part in theirs if part.norm}
    found = {}
    for part in ours:
        to = names.get(part.main) or (norms.get(part.name) if part.norm else None)
        if to is not None:
            if part.shape != to.shape:
                raise ArrayNameError.unlike_shape(other, part.main, part.words, to.words)
            found[part.main] = to
    return found


def _doubtful(model: ModelFile, parts: Sequence[NamedPart]) -> list[str]:
    """Return the layers of kernels whose kind is not told."""
    told = {kernel.weight: kernel.told for kernel in model.kernels}
    noted = {name for name, why in model.about if why == UNTOLD}
    names = [part.main for part in parts if not part.norm]
    return [
        re.sub(r"[./][^./]*$", "", name) for name in names if not told.get(name, name not in noted)
    ]


def _chosen(
    here: Sequence[NamedPart], there: Sequence[NamedPart], *, order: bool
) -> tuple[list[tuple[NamedPart, NamedPart]], list[str]]:
    """Pair the parts of one shape: by their names if these tell all, else by the order.

    No pair is returned where neither tells.
    """
    if len(here) < 2:  # noqa: PLR2004 - nothing to choose from
        return list(zip(here, there, strict=True)), []
    by_name = _by_name(here, there)
    if by_name is not None:
        return by_name, []
    by_order = list(zip(here, there, strict=True))
    if not order or _contradicts(here, there):
        return [], []
    listed = few([f"{a.main} to {b.main}" for a, b in by_order])
    return by_order, [f"{len(here)} of one shape are matched by order alone: {listed}"]


def _ambiguous(
    file: str,
    other: str,
    unclear: Sequence[tuple[Sequence[NamedPart], Sequence[NamedPart]]],
    *,
    order: bool,
) -> ArrayNameError:
    """Return the error of parts that neither names nor order tell apart, with pairs for all."""
    first, *_ = paired = [
        list(zip(*(sorted(parts, key=_number) for parts in pair), strict=True)) for pair in unclear
    ]
    names = [(a.main, b.main) for a, b in first]
    pairs = [names for group in paired for a, b in group for names in proposed(a, b)]
    return ArrayNameError.ambiguous(file, other, names, pairs, order=order)


def _number(part: NamedPart) -> list[tuple[bool, int, str]]:
    return natural(part.main)


def _by_name(
    here: Sequence[NamedPart], there: Sequence[NamedPart]
) -> list[tuple[NamedPart, NamedPart]] | None:
    """Pair parts whose names, or last parts of names, are the same; None if not all are."""
    for key in (_stem, _last):
        ours, theirs = ({key(part.name): part for part in parts} for parts in (here, there))
        if len(ours) == len(here) and ours.keys() == theirs.keys():
            return [(part, theirs[name]) for name, part in ours.items()]
    return None


def _contradicts(here: Sequence[NamedPart], there: Sequence[NamedPart]) -> bool:
    """Return whether a name that both files have stands in another place of the order."""
    for key in (_stem, _last):
        ours, theirs = ([key(part.name) for part in parts] for parts in (here, there))
        for at, name in enumerate(ours):
            alone = ours.count(name) == theirs.count(name) == 1
            if alone and theirs[at] != name and not name.isdigit():
                return True
    return False


def _stem(name: str) -> str:
    """Return a name without the marks that frameworks put between its parts."""
    return re.sub(r"[^a-z0-9]+", "", name.lower())


def _last(name: str) -> str:
    return _stem(re.split(r"[./]", name)[-1])

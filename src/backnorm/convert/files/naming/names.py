"""Give the arrays of a model other names: pairs of patterns, each an old and a new name."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from backnorm.convert.files._flat import key_of, spelling_for
from backnorm.convert.files._notes import with_notes_about
from backnorm.convert.files.registry import format_of
from backnorm.errors import ArrayNameError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from backnorm.convert.files.record import LayerKernel, ModelFile, NormLayer

__all__ = ["names_of", "pairs_in", "renamed", "with_names"]

ANEW: Final = "arrays get other names, so the file is written anew and holds arrays alone"


@dataclass(frozen=True, slots=True)
class _Pair:
    """A pattern for old names, and the new name, in parts between which the asterisks stand."""

    old: str
    pattern: re.Pattern[str]
    new: tuple[str, ...]

    @classmethod
    def of(cls, old: str, new: str) -> _Pair:
        """Prepare a pair; the first asterisk takes as little as it can."""
        if new.count("*") > old.count("*"):
            raise ArrayNameError.asterisks(old, new)
        pattern = "(.*?)".join(map(re.escape, old.split("*")))
        return cls(old, re.compile(pattern, re.DOTALL), tuple(new.split("*")))

    def renamed(self, name: str) -> str | None:
        """Return the new name; None if the pattern does not match, empty to leave it out."""
        match = self.pattern.fullmatch(name)
        if match is None:
            return None
        carried = match.groups()[: len(self.new) - 1]
        return self.new[0] + "".join(
            text + part for text, part in zip(carried, self.new[1:], strict=True)
        )


def pairs_in(text: str) -> list[tuple[str, str]]:
    r"""Read pairs OLD=NEW, one in a line; empty lines and lines that begin with # are passed over.

    Parameters
    ----------
    text
        The lines.

    Returns
    -------
    list of (str, str)
        Old and new names.

    Raises
    ------
    ArrayNameError
        If a line has no =.

    Examples
    --------
    >>> from backnorm.convert import files
    >>> files.pairs_in("# the first block\nconv1.*=features.0.*")
    [('conv1.*', 'features.0.*')]
    """
    pairs = []
    for line in text.splitlines():
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        old, equals, new = line.strip().partition("=")
        if not equals or not old:
            raise ArrayNameError.no_pair(line.strip())
        pairs.append((old, new))
    return pairs


def names_of(layer: NormLayer) -> dict[str, str]:
    """Return the names that a new file has for a layer's arrays, by field."""
    spelling = spelling_for(layer.dialect)
    return {field: key_of(spelling, field, layer.name) for field in layer.state}


def with_names(model: ModelFile, pairs: Sequence[tuple[str, str]]) -> ModelFile:
    """Rename arrays, those of normalization layers and all others.

    Parameters
    ----------
    model
        What will be written, with the target's names.
    pairs
        Old and new names. Each ``*`` of an old name matches any text, also none, and the first
        ``*`` of the new name stands for what the first of the old name matched, and so on. A new
        name that is empty leaves the array out. Old names are those before any pair was applied;
        where several match a name, the last counts.

    Returns
    -------
    ModelFile
        A new file with these names.

    Raises
    ------
    ArrayNameError
        If an old name matches nothing, two arrays get one name, the arrays of a normalization
        layer get names that are not those of one layer, or the file that is written over holds a
        network that refers to the names.

    Examples
    --------
    >>> import numpy as np
    >>> from backnorm.convert import files
    >>> c = np.ones(3, np.float32)
    >>> layer = files.NormLayer("bn1", "torch", {"running_mean": c, "running_var": c})
    >>> model = files.ModelFile("a.npz", "npz", (layer,), {"conv1.0": c, "conv1.1": c})
    >>> pairs = [("conv1.0", "body.0.weight"), ("conv1.1", ""), ("bn*.*", "body.*.*")]
    >>> renamed = files.with_names(model, pairs)
    >>> renamed.layers[0].name, list(renamed.others)
    ('body.1', ['body.0.weight'])
    """
    if not pairs:
        return model
    names = [name for layer in model.layers for name in names_of(layer).values()]
    names += model.others
    file = Path(model.path).name
    return renamed(model, _new_names(file, names, [_Pair.of(*pair) for pair in pairs]))


def renamed(model: ModelFile, new: Mapping[str, str]) -> ModelFile:
    """Rename all arrays.

    Parameters
    ----------
    model
        What will be written.
    new
        For each array's name the new one; empty to leave the array out.

    Returns
    -------
    ModelFile
        A new file.

    Raises
    ------
    ArrayNameError
        As `with_names`, but for patterns.
    """
    file = Path(model.path).name
    kind = format_of(Path(model.path), model.format)
    if model.content is not None and (kind.keeps_versions or not kind.makes_new):
        raise ArrayNameError.network_names(file, kind.name)
    owner: dict[str, str] = {}
    for name, to in new.items():
        if to and owner.setdefault(to, name) != name:
            raise ArrayNameError.renamed_alike(file, to, owner[to], name)
    layers = (_layer(file, layer, new) for layer in model.layers)
    anew = () if model.content is None else (ANEW,)
    about = tuple((new.get(name, name), why) for name, why in model.about if new.get(name, name))
    noted = with_notes_about(model, about)
    return replace(
        noted,
        notes=(*noted.notes, *anew),
        order=tuple(new.get(name, name) for name in model.order),
        layers=tuple(layer for layer in layers if layer is not None),
        others={new[name]: array for name, array in model.others.items() if new[name]},
        kernels=tuple(_kernels(model.kernels, new)),
        content=None,
    )


def _new_names(file: str, names: Sequence[str], pairs: Sequence[_Pair]) -> dict[str, str]:
    """Return the new name of each array."""
    new = {name: name for name in names}
    for pair in pairs:
        found = {name: to for name in names if (to := pair.renamed(name)) is not None}
        if not found:
            raise ArrayNameError.unknown_array(file, pair.old, names)
        new |= found
    return new


def _layer(file: str, layer: NormLayer, new: Mapping[str, str]) -> NormLayer | None:
    """Return a layer under its new name; None if it is left out."""
    spelling = spelling_for(layer.dialect)
    wanted = {field: new[name] for field, name in names_of(layer).items()}
    if not any(wanted.values()):
        return None
    for field, to in wanted.items():
        before, _, after = spelling.keys[field].partition("{}")
        name = to[len(before) : len(to) - len(after)]
        if {f: key_of(spelling, f, name) for f in wanted} == wanted:
            return replace(layer, name=name)
    raise ArrayNameError.torn_layer(file, layer.name, wanted)


def _kernels(kernels: Iterable[LayerKernel], new: Mapping[str, str]) -> Iterable[LayerKernel]:
    for kernel in kernels:
        if new[kernel.weight]:
            bias = new[kernel.bias] if kernel.bias else ""
            yield replace(kernel, weight=new[kernel.weight], bias=bias)

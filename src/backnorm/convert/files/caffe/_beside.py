"""The description of a network that lies beside a .caffemodel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from backnorm.convert.files._regular import read_regular
from backnorm.convert.files.caffe._net import layers_of_prototxt

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from backnorm.convert.files.caffe._net import NetLayer

__all__ = ["Prototxt", "notes_on", "prototxt_of"]

SUFFIXES: Final = (".prototxt", ".prototxt.txt")
"""Of the description, whose name is that of the model, or deploy."""


@dataclass(frozen=True, slots=True)
class Prototxt:
    """The description beside the file: its name, and what it holds."""

    name: str
    text: str

    def layers(self) -> list[NetLayer]:
        """Return its layers, in the order of the file."""
        return layers_of_prototxt(self.name, self.text)


def prototxt_of(path: Path, net: Path | None, own: Sequence[NetLayer]) -> Prototxt | None:
    """Find the description of a network.

    A deploy.prototxt may belong to another model in the folder: it is taken if the file has all of
    its normalization layers.

    Parameters
    ----------
    path
        The model.
    net
        The description that the caller has named; None to look beside the model.
    own
        The layers as the model itself describes them.

    Returns
    -------
    Prototxt or None
        The description, if there is one.
    """
    usual = [path.with_suffix(suffix) for suffix in SUFFIXES]
    named = net or next((file for file in usual if file.is_file()), None)
    if named is not None:
        return _read(named)
    deploy = [path.with_name(f"deploy{suffix}") for suffix in SUFFIXES]
    found = [_read(file) for file in deploy if file.is_file()]
    return next((file for file in found if _fits(file.layers(), own)), None)


def notes_on(file: str, prototxt: Prototxt | None, own: Sequence[NetLayer]) -> tuple[str, ...]:
    """Say that there is no description, or which layers it lacks: they are left as they are."""
    if prototxt is None:
        usual = file.rpartition(".")[0] + SUFFIXES[0]
        why = f"no {usual} beside, and no deploy{SUFFIXES[0]} of this model"
        return (f"{why}: eps and wiring are those in {file} itself",)
    left = sorted(_norms(own) - _norms(prototxt.layers()))
    return tuple(f"{name} is not in {prototxt.name}; it is left as it is" for name in left)


def _read(path: Path) -> Prototxt:
    return Prototxt(path.name, read_regular(path).decode(errors="replace"))


def _fits(described: Sequence[NetLayer], own: Sequence[NetLayer]) -> bool:
    norms = _norms(described)
    return bool(norms) and norms <= {layer.name for layer in own}


def _norms(layers: Sequence[NetLayer]) -> set[str]:
    return {layer.name for layer in layers if layer.type == "BatchNorm"}

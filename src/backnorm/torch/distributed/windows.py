"""What a layer keeps from pass to pass: where its sums lay, and whether all ranks agree on it.

The windows of the next pass are where the sums lay in the last one. They change no result, only how
many bytes a pass sends. So none of this is part of a layer's state.
"""

from __future__ import annotations

import itertools
import weakref
from typing import TYPE_CHECKING, Final, Literal, get_args

import torch
from torch.utils.weak import WeakIdKeyDictionary

if TYPE_CHECKING:
    from backnorm.kernels.exact_windows import Window

__all__ = [
    "UNNAMED",
    "has_agreed",
    "name_for",
    "name_of",
    "remember",
    "remember_agreement",
    "windows_of",
]

Direction = Literal["forward", "backward", "merge"]

UNNAMED: Final = torch.tensor(0)
"""The name of a layer that has none."""

_names: Final = itertools.count(1)
_windows: Final[dict[tuple[int, Direction], Window]] = {}
_groups: Final[dict[int, set[str]]] = {}
_of_tensors = WeakIdKeyDictionary()


def name_for(layer: object) -> torch.Tensor:
    """Return a name for a layer, under which its windows are kept while the layer lives.

    A tensor: torch.compile takes a number for a constant, and compiles each layer anew.
    """
    name = next(_names)
    weakref.finalize(layer, _forget, name)
    return torch.tensor(name)


def name_of(state: torch.Tensor | None) -> torch.Tensor:
    """Return the name of the layer to which a tensor belongs; always the same one."""
    if state is None or torch.compiler.is_compiling():
        return UNNAMED
    name: torch.Tensor | None = _of_tensors.get(state)
    if name is None:
        name = _of_tensors[state] = name_for(state)
    return name


def windows_of(name: torch.Tensor, of_pass: Direction) -> Window | None:
    """Return the windows of a pass, or None before the first one."""
    return _windows.get((int(name), of_pass))


def remember(name: torch.Tensor, of_pass: Direction, window: Window) -> None:
    """Keep the windows for the next pass of this kind."""
    if int(name):
        _windows[int(name), of_pass] = window


def has_agreed(name: torch.Tensor, group: str) -> bool:
    """Whether the ranks of a group have agreed on the number of channels.

    `merging` asks it of all layers of a model, under another name than that of the group.
    """
    return group in _groups.get(int(name), ())


def remember_agreement(name: torch.Tensor, group: str) -> None:
    """Keep that they have."""
    if int(name):
        _groups.setdefault(int(name), set()).add(group)


def _forget(name: int) -> None:
    _groups.pop(name, None)
    for of_pass in get_args(Direction):
        _windows.pop((name, of_pass), None)

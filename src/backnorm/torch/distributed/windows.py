"""Where the sums of a layer lay in its last pass: the windows of the next one.

Windows change no result, only how many bytes a pass sends. So they are no part of a layer's state.
"""

from __future__ import annotations

import itertools
import weakref
from typing import TYPE_CHECKING, Final, Literal

import torch

if TYPE_CHECKING:
    from backnorm.kernels.exact_windows import Window

__all__ = ["UNNAMED", "name_for", "remember", "windows_of"]

Direction = Literal["forward", "backward"]

UNNAMED: Final = torch.tensor(0)
"""The name of a layer that has none."""

_names: Final = itertools.count(1)
_windows: Final[dict[tuple[int, Direction], Window]] = {}


def name_for(layer: object) -> torch.Tensor:
    """Return a name for a layer, under which its windows are kept while the layer lives.

    A tensor: torch.compile takes a number for a constant, and compiles each layer anew.
    """
    name = next(_names)
    weakref.finalize(layer, _forget, name)
    return torch.tensor(name)


def windows_of(name: torch.Tensor, of_pass: Direction) -> Window | None:
    """Return the windows of a pass, or None before the first one."""
    return _windows.get((int(name), of_pass))


def remember(name: torch.Tensor, of_pass: Direction, window: Window) -> None:
    """Keep the windows for the next pass of this kind."""
    if int(name):
        _windows[int(name), of_pass] = window


def _forget(name: int) -> None:
    for of_pass in ("forward", "backward"):
        _windows.pop((name, of_pass), None)

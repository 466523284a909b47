"""Whether y may take the memory of x: the module that makes x and the readers of y decide.

Autograd raises if a tensor that it keeps is overwritten. It does not notice a sum that reads x
after y was written there, or a hook that holds x. So the module that makes x must not need x for
backward and must pass it on to the normalization only, and every reader of y must be known to
leave y unchanged.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from torch import nn

from backnorm.kernels.activations import INVERTIBLE
from backnorm.torch.conversion import hooks, layers

if TYPE_CHECKING:
    from collections.abc import Sequence

    from backnorm.torch.conversion.activations import Act

__all__ = ["CHANGED", "NEEDED", "RESIDUAL", "leaves", "only_reads", "why_not"]

NOT_KEEPING: Final = frozenset(
    {
        nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear,
        nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d,
    }
)  # fmt: skip
"""Layers that do not need their output for backward: it may be overwritten."""

READING: Final = NOT_KEEPING | {
    nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d,
    nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d,
    nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d,
    nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d,
}  # fmt: skip
"""Layers that leave their input unchanged and do not return a view of it."""

RESIDUAL: Final = "not in place: it adds a residual"
NEEDED: Final = "not in place: its input may be needed elsewhere"
CHANGED: Final = "not in place: its output may be changed"


def why_not(before: nn.Module | None, act: Act | None, after: Sequence[nn.Module | None]) -> str:
    """Return why y may not take the memory of x; "" if it may.

    Parameters
    ----------
    before
        The module that makes x and passes it on to the normalization only; None if it is unknown.
        In a Sequential the last layer counts.
    act
        The activation that is fused.
    after
        The modules that read y; None for an unknown one. In a Sequential the first layer counts.
    """
    if act is not None and act.name not in INVERTIBLE:
        return f"not in place: {act.name} cannot be undone"
    maker = _end(before, -1)
    if maker is None or type(maker) not in NOT_KEEPING:
        return NEEDED
    if any(_may_change(_end(reader, 0)) for reader in after):
        return CHANGED
    return ""


def _end(module: nn.Module | None, index: int) -> nn.Module | None:
    """Return a module, or the first or last layer of nested Sequentials; None with hooks on it."""
    while module is not None:
        if not hooks.is_bare(module):
            return None
        if not layers.is_plain(module):
            return module
        module = (list(vars(module)["_modules"].values()) or [None])[index]
    return None


def _may_change(module: nn.Module | None) -> bool:
    known = module is not None and (type(module) in READING or layers.is_converted(module))
    return not known or bool(getattr(module, "inplace", False))


def leaves(reader: nn.Module | None) -> bool:
    """Whether a module is known to leave its input unchanged."""
    return reader is not None and not _may_change(_end(reader, 0))


def _share(one: nn.Module, other: nn.Module) -> bool:
    """Whether two modules have a buffer in common, which both may write to."""
    mine, theirs = (
        [value for value in vars(module)["_buffers"].values() if value is not None]
        for module in (one, other)
    )
    return any(value is buffer for value in mine for buffer in theirs)


def only_reads(module: nn.Module | None, norm: nn.Module) -> bool:
    """Whether a call of a module leaves its input and a normalization as they are."""
    if module is None or not hooks.is_bare(module) or module is norm or _share(module, norm):
        return False
    if layers.is_plain(module):
        return all(only_reads(part, norm) for part in vars(module)["_modules"].values())
    return type(module) is nn.Identity or not _may_change(module)

"""Whether y may take the memory of x: the module that makes x and the readers of y decide.

Autograd raises if a tensor that it keeps is overwritten. It does not notice a sum that reads x
after y was written there, or a hook that holds x. So the module that makes x must not need x for
backward and must pass it on to the normalization only, and every reader of y must be known to
leave y unchanged.
"""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Final

import torch
from torch import nn

from backnorm.kernels.activations import INVERTIBLE
from backnorm.torch.conversion import hooks, layers, stand_ins

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import fx

    from backnorm.torch.conversion.activations import Act

__all__ = ["around", "why_not"]

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

SUMS: Final = ("add", operator.add, torch.add)
SUMS_INTO: Final = ("add_", stand_ins.iadd)
"""They write to their first operand."""

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


def around(
    module: nn.Module, norm: fx.Node, act: Act | None, last: fx.Node
) -> tuple[str, ...] | str:
    """Return the modules around a normalization in the graph of a forward, or why they are unknown.

    Parameters
    ----------
    module
        The module whose forward was traced.
    norm
        The call of the normalization, with one tensor.
    act
        The activation that is fused.
    last
        The node that returns y: the fused activation, or the normalization without one.

    Returns
    -------
    tuple of str, or str
        Names of the modules for `why_not`: the one that makes x, then those that read y.
    """
    before = norm.args[0]
    if len(before.users) > 1 or before.op != "call_module":  # type: ignore[union-attr] # a node
        return NEEDED
    names = [str(before.target)]  # type: ignore[union-attr]
    for user in last.users:
        if user.op == "call_module" and user.args == (last,) and not user.kwargs:
            names.append(str(user.target))
        elif not _adds(user, last):
            return CHANGED
    modules = [module.get_submodule(name) for name in names]
    return why_not(modules[0], act, modules[1:]) or tuple(names)


def _adds(node: fx.Node, y: fx.Node) -> bool:
    """Whether a node is a sum with another tensor that neither keeps y nor writes to it."""
    if node.op not in ("call_function", "call_method") or node.kwargs or len(node.args) != 2:  # noqa: PLR2004
        return False
    into = node.target in SUMS_INTO and node.args[0] is not y
    return (node.target in SUMS or into) and node.args[0] is not node.args[1]

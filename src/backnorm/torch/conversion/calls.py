"""The call in a fused forward: one pass if that is still right, else the separate operations."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import torch

from backnorm.torch.conversion import activations, hooks, overwriting, stand_ins
from backnorm.torch.conversion.activations import Act
from backnorm.torch.engine.activations import ACTIVATIONS
from backnorm.torch.engine.modules import BatchNorm1d, BatchNorm2d, BatchNorm3d
from backnorm.torch.engine.tools import is_program_made

if TYPE_CHECKING:
    from torch import nn

__all__ = ["run"]

PLAIN: Final = (BatchNorm1d, BatchNorm2d, BatchNorm3d)


def run(  # noqa: PLR0917 - generated code calls it
    norm: nn.Module,
    x: torch.Tensor,
    residual: Any,
    module: nn.Module | None,
    name: str,
    slope: float,
    around: tuple[nn.Module, ...] = (),
    before: tuple[nn.Module, ...] = (),
    after: tuple[nn.Module, ...] = (),
    *,
    sum_in_place: bool = False,
) -> torch.Tensor:
    """Return act(norm(x) + residual), in one pass if nothing has changed since the conversion.

    Parameters
    ----------
    norm
        The normalization; it may have got hooks or have been replaced since.
    x
        Its input.
    residual
        The other operand of the sum; None without a sum.
    module
        The activation's module; None if it is a function.
    name, slope
        The activation, if it is a function.
    around
        For normalization in place: the module that makes x, then those that read y. They may have
        been replaced since.
    before, after
        What was an Identity before and after the sum.
    sum_in_place
        Whether the sum is written to the output of norm, which keeps its dtype and shape.
    """
    act = Act(name, slope) if module is None else activations.of_module(module)  # type: ignore[arg-type]
    # A program holds PyTorch's operators, and names the module that each comes from.
    bare = type(norm) in PLAIN and hooks.is_bare(norm) and not is_program_made()
    straight = all(map(hooks.is_identity, (*before, *after)))
    if act is not None and bare and straight and _fits(residual, x):
        return norm._normalize(  # type: ignore[operator,no-any-return] # noqa: SLF001
            x,
            activation=act.name,
            negative_slope=act.slope,
            residual=residual,
            inplace=bool(around) and not overwriting.why_not(around[0], act, around[1:]),
        )
    y: torch.Tensor = norm(x)
    for other in before:
        y = other(y)
    if residual is not None:
        y = stand_ins.iadd(y, residual) if sum_in_place else y + residual
    for other in after:
        y = other(y)
    if module is not None:
        return module(y)  # type: ignore[no-any-return]
    return ACTIVATIONS[name].apply(y, slope)


def _fits(residual: Any, x: torch.Tensor) -> bool:
    if residual is None:
        return True
    is_tensor = isinstance(residual, torch.Tensor) and isinstance(x, torch.Tensor)
    return is_tensor and residual.shape == x.shape and residual.dtype == x.dtype

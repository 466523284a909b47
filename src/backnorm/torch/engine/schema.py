"""The schemas of backnorm::batch_norm and backnorm::batch_norm_backward.

They compute what `kernels` computes, but do not touch running statistics. PyTorch sees them
whenever it records or transforms a call: torch.compile, torch.export, torch.func, forward mode,
vmap. When PyTorch only runs a call, `autograd` calls the kernels without the dispatcher.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import torch

from backnorm.torch.engine.kernels import CallOptions

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = [
    "BACKWARD",
    "FORWARD",
    "LIBRARY",
    "Maybe",
    "Tensors",
    "as_promised",
    "gradients",
    "in_schema_order",
    "options",
]

OPTIONS: Final = (
    "bool training, float eps, str activation, float negative_slope, str through, str sums"
)

LIBRARY: Final = torch.library.Library("backnorm", "DEF")

LIBRARY.define(
    "batch_norm(Tensor x, Tensor? weight, Tensor? bias, Tensor? running_mean, Tensor? running_var,"
    f" Tensor? residual, {OPTIONS}) -> (Tensor, Tensor)"
)
LIBRARY.define(
    "batch_norm_backward(Tensor dy, Tensor x, Tensor? y, Tensor? weight, Tensor? bias,"
    f" Tensor statistics, {OPTIONS}, bool[4] wanted) -> (Tensor, Tensor, Tensor, Tensor)"
)

FORWARD: Final = torch.ops.backnorm.batch_norm.default
BACKWARD: Final = torch.ops.backnorm.batch_norm_backward.default

Tensors = tuple[torch.Tensor, ...]
Maybe = torch.Tensor | None


def in_schema_order(options: CallOptions) -> tuple[Any, ...]:
    """Return the options as the schemas list them."""
    return (
        options.training,
        options.eps,
        options.activation,
        options.negative_slope,
        options.through,
        options.sums,
    )


def options(
    training: bool, eps: float, activation: Any, slope: float, through: Any, sums: Any
) -> CallOptions:
    """Return the options that the schemas list."""
    return CallOptions(training, 0.0, eps, activation, slope, through, sums)


def gradients(
    dy: torch.Tensor,
    x: torch.Tensor,
    y: Maybe,
    weight: Maybe,
    bias: Maybe,
    statistics: torch.Tensor,
    options: CallOptions,
    wanted: Sequence[bool],
) -> tuple[Maybe, ...]:
    """Return dx, dweight, dbias and dresidual by the operator; None for those not wanted."""
    scalars = in_schema_order(options)
    all_four = BACKWARD(dy, x, y, weight, bias, statistics, *scalars, list(wanted))
    return tuple(g if asked else None for g, asked in zip(all_four, wanted, strict=True))


def as_promised(gradients: Sequence[Maybe], x: torch.Tensor) -> Tensors:
    """Return what the schemas promise, which is tensors: an empty one stands for None."""
    return tuple(x.new_empty(0) if gradient is None else gradient for gradient in gradients)

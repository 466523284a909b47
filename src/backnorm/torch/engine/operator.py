"""Calls of the registered operators, for tensors that PyTorch records or transforms."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import torch
from torch._C import _functorch

from backnorm.results import StatisticsRow
from backnorm.torch.engine import backends, derivatives, schema, vmap  # noqa: F401 - they register

if TYPE_CHECKING:
    from backnorm.torch.engine.kernels import CallOptions
    from backnorm.torch.engine.schema import Maybe

__all__ = ["batch_norm", "move"]


def batch_norm(
    x: torch.Tensor,
    weight: Maybe,
    bias: Maybe,
    running_mean: Maybe,
    running_var: Maybe,
    residual: Maybe,
    options: CallOptions,
) -> torch.Tensor:
    """Return y by the operator; update running statistics when training."""
    y: torch.Tensor
    y, statistics = schema.FORWARD(
        x, weight, bias, running_mean, running_var, residual, *schema.in_schema_order(options)
    )
    # Updated here, so that the operator stays functional: torch.compile and the transforms need
    # no rule for an argument that it writes to.
    if options.training and running_mean is not None and running_var is not None:
        n: Any = x.numel() // x.shape[1]
        n = n.double() if isinstance(n, torch.Tensor) else n  # torch.jit.trace counts in tensors
        move(running_mean, statistics[StatisticsRow.MEAN], options.momentum)
        move(running_var, statistics[StatisticsRow.VAR] * (n / (n - 1)), options.momentum)
    return y


def move(
    running: torch.Tensor,
    batch: torch.Tensor,
    momentum: float,
    counted: torch.Tensor | None = None,
) -> None:
    """Move running statistics towards those of the batch, bitwise identical to the kernels.

    Where counted is given, it is 1, or 0 where nothing moves.
    """
    guard: Any = contextlib.nullcontext
    if not (torch.compiler.is_compiling() or _functorch.is_functorch_wrapped_tensor(running)):
        # Transforms forbid writing to a tensor that they do not wrap. Running statistics do not
        # enter what the transforms compute, so they are written with the transforms switched off.
        guard = torch._C._DisableFuncTorch
        batch = _unwrapped(batch)
        counted = None if counted is None else _unwrapped(counted)
    with torch.no_grad(), guard():
        weight = momentum if counted is None else momentum * counted
        running.copy_((1 - weight) * running.double() + weight * batch)


def _unwrapped(tensor: torch.Tensor) -> torch.Tensor:
    while _functorch.is_gradtrackingtensor(tensor):
        tensor = _functorch.get_unwrapped(tensor)
    return tensor

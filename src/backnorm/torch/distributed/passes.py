"""A training pass over the ranks of a group, for `batch_norm` and for the module."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import distributed

from backnorm.errors import DtypeError, NotSupportedError
from backnorm.results import StatisticsRow
from backnorm.torch.distributed import (
    derivatives,  # noqa: F401 - it registers
    exchange,
    operators,
    windows,
)
from backnorm.torch.distributed.parts import Law
from backnorm.torch.engine import operator

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup

    from backnorm.torch.engine.kernels import CallOptions
    from backnorm.torch.engine.schema import Maybe

__all__ = ["group_for", "move", "normalize", "of_function"]


def group_for(x: torch.Tensor, group: ProcessGroup | None) -> str | None:
    """Return the name of the group over which a batch is normalized.

    None if it has no other ranks, so that one process has the same bits; those of float64 it has
    not, for its sums are not exact.
    """
    if group is None:
        return None
    if distributed.get_world_size(group) > 1:
        return group.group_name
    return exchange.ALONE if x.is_cpu and x.dtype == torch.float64 else None


def normalize(
    x: torch.Tensor,
    parameters: tuple[Maybe, Maybe],
    residual: Maybe,
    mask: Maybe,
    layer: torch.Tensor,
    channels: int,
    group: str,
    law: Law,
    *,
    reduce_parameters: bool,
    deferred: bool = False,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return y, and the statistics of all ranks; layer is its name.

    The third result has the sums of this rank if running statistics are deferred. What is wrong on
    one rank is found in the operator, so that every rank has an error.
    """
    if not x.is_cpu:
        raise NotSupportedError.other_device(str(x.device))
    if not (mask is None or isinstance(mask, torch.Tensor)):
        raise DtypeError.not_a_tensor("mask", mask)
    compiles = torch.compiler.is_compiling()
    if not (compiles or group == exchange.ALONE or windows.has_agreed(layer, group)):
        exchange.agree(channels, group)
        windows.remember_agreement(layer, group)
    found: tuple[torch.Tensor, torch.Tensor, torch.Tensor] = operators.FORWARD(
        x, *parameters, residual, mask, layer, channels, deferred, reduce_parameters, group, *law
    )
    return found


def of_function(
    x: torch.Tensor,
    state: tuple[Maybe, ...],
    residual: Maybe,
    mask: Maybe,
    process_group: ProcessGroup,
    options: CallOptions,
    *,
    reduce: bool,
) -> torch.Tensor | None:
    """Return y of a training pass, and move the running statistics; None as `group_for`.

    The layer is the one to which its state belongs: weight, bias, running_mean and running_var.
    """
    group = group_for(x, process_group)
    if group is None:
        return None
    weight, bias, running_mean, running_var = state
    kept = next((t for t in (running_mean, weight, bias) if t is not None), None)
    channels = math.prod(x.shape[1:2]) if kept is None else kept.numel()
    name, law = windows.name_of(kept), Law.of(options)
    y, statistics, _ = normalize(
        x, (weight, bias), residual, mask, name, channels, group, law, reduce_parameters=reduce
    )
    if running_mean is not None and running_var is not None:
        move(running_mean, running_var, statistics, options.momentum)
    return y


def move(
    running_mean: torch.Tensor, running_var: torch.Tensor, statistics: torch.Tensor, momentum: float
) -> None:
    """Move the running statistics, bitwise as the engine does in one process."""
    n = statistics[operators.N_ROW]
    operator.move(running_mean, statistics[StatisticsRow.MEAN], momentum)
    unbiased = statistics[StatisticsRow.VAR] * (n / (n - 1))
    operator.move(running_var, unbiased, momentum)

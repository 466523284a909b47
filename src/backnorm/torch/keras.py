"""What `backnorm.keras` computes on PyTorch: the law of Keras by the engine."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import distributed

from backnorm.results import StatisticsRow
from backnorm.torch.distributed import operators, passes, windows
from backnorm.torch.distributed.parts import Law
from backnorm.torch.engine import masked_schema, schema
from backnorm.torch.engine.formula import per_channel
from backnorm.torch.engine.functional import batch_norm
from backnorm.torch.engine.measured import normalize_measured, training_options

if TYPE_CHECKING:
    from backnorm.torch.engine.schema import Maybe

__all__ = ["KerasStatistics", "evaluated", "leaves", "trained"]


class KerasStatistics(NamedTuple):
    """Mean and biased variance of each channel, float64, and how many values each has."""

    mean: torch.Tensor
    var: torch.Tensor
    n: Any


def leaves(x: torch.Tensor, axis: int, *, spread: bool) -> bool:
    """Whether Keras computes this: PyTorch refuses a single value for each channel."""
    return math.prod(x.shape) == x.shape[axis] and not (spread and _group(x))


def evaluated(
    x: torch.Tensor,
    gamma: Maybe,
    beta: Maybe,
    mean: torch.Tensor,
    var: torch.Tensor,
    *,
    axis: int,
    eps: float,
) -> torch.Tensor:
    """Return y by the running statistics."""
    weight, bias, wide_mean, wide_var = _in_dtype_of_engine(x, gamma, beta, mean, var)
    y = batch_norm(x.movedim(axis, 1), wide_mean, wide_var, weight, bias, eps=eps)
    return y.movedim(1, axis)


def trained(
    x: torch.Tensor,
    gamma: Maybe,
    beta: Maybe,
    *,
    axis: int,
    eps: float,
    mask: Maybe,
    spread: bool,
    layer: torch.Tensor,
) -> tuple[torch.Tensor, KerasStatistics]:
    """Return y by the statistics of the batch, and these; of all processes if it is spread.

    As in Keras, a mask says which positions enter the statistics, and y is normalized everywhere.
    layer is a tensor of its state.
    """
    weight, bias = _in_dtype_of_engine(x, gamma, beta)
    moved = x.movedim(axis, 1)
    group = _group(moved) if spread else None
    if group is not None:
        y, batch = _of_all_ranks(moved, (weight, bias), mask, layer, group, eps=eps)
    elif mask is None:
        options = training_options(eps, "both", "float64")
        y, measured = normalize_measured(moved, weight, bias, options)
        batch = KerasStatistics(*measured)
    else:
        y, batch = _of_counted(moved, weight, bias, mask, eps)
    if mask is not None:
        elsewhere = _elsewhere(moved, (weight, bias), mask, batch, eps=eps, group=group)
        y = torch.where(mask.unsqueeze(1), y, elsewhere)
    return y.movedim(1, axis), batch


def _group(x: torch.Tensor) -> str | None:
    """Return the name of the default group if it has other ranks; None for shapes alone."""
    there = distributed.is_available() and distributed.is_initialized()
    if x.device.type == "meta" or not there:
        return None
    return passes.group_for(x, distributed.group.WORLD)


def _in_dtype_of_engine(x: torch.Tensor, *values: Maybe) -> list[Maybe]:
    wide = torch.promote_types(x.dtype, torch.float32)
    return [None if value is None else value.to(wide) for value in values]


def _of_all_ranks(
    x: torch.Tensor,
    parameters: tuple[Maybe, Maybe],
    mask: Maybe,
    layer: torch.Tensor,
    group: str,
    *,
    eps: float,
) -> tuple[torch.Tensor, KerasStatistics]:
    law = Law(eps, "identity", 0.01, "both")
    name = windows.name_of(layer)
    y, rows, _ = passes.normalize(
        x, parameters, None, mask, name, x.shape[1], group, law, reduce_parameters=False
    )
    rows = rows.detach()
    n = rows[operators.N_ROW, 0]  # that of every channel
    return y, KerasStatistics(rows[StatisticsRow.MEAN], rows[StatisticsRow.VAR], n)


def _of_counted(
    x: torch.Tensor, weight: Maybe, bias: Maybe, mask: torch.Tensor, eps: float
) -> tuple[torch.Tensor, KerasStatistics]:
    """Return y by an operator whose shapes do not depend on the mask."""
    options = training_options(eps, "both", "float64")
    y, rows = masked_schema.FORWARD(
        x, mask, weight, bias, None, None, None, *schema.in_schema_order(options)
    )
    rows = rows.detach()
    return y, KerasStatistics(rows[StatisticsRow.MEAN], rows[StatisticsRow.VAR], mask.sum())


class _Added(torch.autograd.Function):
    """The sum over all processes, and of its gradient too."""

    @staticmethod
    def forward(_: Any, values: torch.Tensor) -> torch.Tensor:
        """Return the sum."""
        added = values.clone()
        distributed.all_reduce(added)
        return added

    @staticmethod
    def backward(_: Any, gradient: torch.Tensor) -> torch.Tensor:
        """Return the sum of the gradients, which has a derivative too."""
        added: torch.Tensor = _Added.apply(gradient)  # type: ignore[no-untyped-call]
        return added


def _elsewhere(
    x: torch.Tensor,
    parameters: tuple[Maybe, Maybe],
    mask: torch.Tensor,
    batch: KerasStatistics,
    *,
    eps: float,
    group: str | None,
) -> torch.Tensor:
    """Return y where nothing counts, by statistics through which the gradient goes, as in Keras.

    They are those of the batch plus zeros, whose derivatives are those of the statistics.
    """
    weight, bias = parameters
    wide = torch.promote_types(x.dtype, torch.float32)
    counts = mask.unsqueeze(1)
    axes = [axis for axis in range(x.dim()) if axis != 1]
    divisor = torch.as_tensor(batch.n).clamp(min=1)

    def average(values: torch.Tensor) -> torch.Tensor:
        sums = torch.where(counts, values, 0).sum(axes, keepdim=True)
        if group is not None:
            sums = _Added.apply(sums)  # type: ignore[no-untyped-call]
        return sums / divisor

    def moving(value: torch.Tensor, changes: torch.Tensor) -> torch.Tensor:
        return per_channel(value, x).to(wide) + (changes - changes.detach())

    mean = moving(batch.mean, average(x.to(wide)))
    deviation = x.to(wide) - mean
    var = moving(batch.var, average(torch.where(counts, deviation, 0) ** 2))
    y = deviation * (var + eps).rsqrt()
    if weight is not None:
        y = y * per_channel(weight, x)
    return (y if bias is None else y + per_channel(bias, x)).to(x.dtype)

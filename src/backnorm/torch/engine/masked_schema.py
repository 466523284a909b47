"""The registered operators of masked calls, on the CPU and on tensors without values.

They compute what counts: gathered by the kernels, or by weights in float64. torch.compile and the
transforms of torch.func see one operator with fixed shapes, whatever the mask holds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

import torch
from torch.nn import functional

from backnorm.errors import RangeError
from backnorm.results import StatisticsRow
from backnorm.torch.engine import backends, kernels, memory, schema, weighted
from backnorm.torch.engine.masked import chosen

if TYPE_CHECKING:
    from backnorm.torch.engine.kernels import CallOptions
    from backnorm.torch.engine.schema import Maybe, Tensors

__all__ = ["BACKWARD", "COUNTED_ROW", "FORWARD", "UNBIASED_ROW", "WeightsOfPositions", "weights_of"]

UNBIASED_ROW: Final = 4
"""The unbiased variance, after the rows of `StatisticsRow`."""

COUNTED_ROW: Final = 5
"""1, or 0 if nothing counts: then running statistics do not move."""

ROWS: Final = 6

schema.LIBRARY.define(
    "masked_batch_norm(Tensor x, Tensor mask, Tensor? weight, Tensor? bias, Tensor? running_mean,"
    f" Tensor? running_var, Tensor? residual, {schema.OPTIONS}) -> (Tensor, Tensor)"
)
schema.LIBRARY.define(
    "masked_batch_norm_backward(Tensor dy, Tensor x, Tensor mask, Tensor? y, Tensor? weight,"
    f" Tensor? bias, Tensor statistics, {schema.OPTIONS}, bool[5] wanted)"
    " -> (Tensor, Tensor, Tensor, Tensor, Tensor)"
)

FORWARD: Final = torch.ops.backnorm.masked_batch_norm.default
BACKWARD: Final = torch.ops.backnorm.masked_batch_norm_backward.default


class WeightsOfPositions(NamedTuple):
    """Which positions count, and the weights of those; None if they are equal."""

    counts: torch.Tensor
    weights: Maybe


def weights_of(mask: torch.Tensor, options: CallOptions) -> WeightsOfPositions:
    """Return what a mask says, after checking the weights that it may hold."""
    if mask.dtype == torch.bool:
        return WeightsOfPositions(mask, None)
    wide = mask.detach().double()
    wrong = ~(wide >= 0)
    if bool(wrong.any()):
        raise RangeError.weight(float(wide[wrong][0]))
    counts = wide > 0
    weights = wide[counts]
    total = float(weights.sum())
    if total == float("inf"):
        raise RangeError.weight(total)
    if not options.training or bool((weights == weights[:1]).all()):
        return WeightsOfPositions(counts, None)
    if options.sums == "exact":
        raise RangeError.exact_weights()
    return WeightsOfPositions(counts, weights)


def _forward(
    x: torch.Tensor,
    mask: torch.Tensor,
    weight: Maybe,
    bias: Maybe,
    running_mean: Maybe,
    running_var: Maybe,
    residual: Maybe,
    *scalars: Any,
) -> tuple[torch.Tensor, torch.Tensor]:
    options = schema.options(*scalars)
    memory.check({"input": x, "mask": mask, "residual": residual})
    counts, weights = weights_of(mask, options)
    y = torch.zeros_like(x, memory_format=backends.result_format(x))
    rows = torch.zeros((ROWS, x.shape[1]), dtype=torch.float64)
    values, residuals = chosen(x, counts), None if residual is None else chosen(residual, counts)
    n = len(values)
    if n == 0:
        return y, rows
    if options.training:
        functional._verify_batch_size(list(values.shape))  # type: ignore[attr-defined] # PyTorch's error
    if weights is None:
        if options.training:  # they do not enter y
            running_mean = running_var = None
        found, statistics = kernels.forward(
            values,
            backends.dense(weight, "weight"),
            backends.dense(bias, "bias"),
            backends.dense(running_mean, "running_mean"),
            backends.dense(running_var, "running_var"),
            residuals,
            options,
        )
        rows[:UNBIASED_ROW] = kernels.rows(statistics)
        factor: Any = n / max(n - 1, 1)
    else:
        memory.check({"weight": weight, "bias": bias})
        k = weighted.WeightedChannels.of(values, weights, weight, None, options)
        found = k.normalize(bias, residuals, weights, options).to(x.dtype)
        rows[StatisticsRow.MEAN] = k.mean.flatten()
        rows[StatisticsRow.VAR] = k.var.flatten()
        rows[StatisticsRow.INV_STD] = k.inv_std.flatten()
        factor = weighted.unbiased(k.shares)
    rows[UNBIASED_ROW] = rows[StatisticsRow.VAR] * factor
    rows[COUNTED_ROW] = 1.0
    return _placed(y, found, counts), rows


def _backward(
    dy: torch.Tensor,
    x: torch.Tensor,
    mask: torch.Tensor,
    y: Maybe,
    weight: Maybe,
    bias: Maybe,
    statistics: torch.Tensor,
    *scalars: Any,
) -> Tensors:
    *laws, wanted = scalars
    options = schema.options(*laws)
    memory.check({"dy": dy, "input": x, "mask": mask, "output": y, "statistics": statistics})
    counts, weights = weights_of(mask, options)
    given, values = chosen(dy, counts), chosen(x, counts)
    outputs = None if y is None else chosen(y, counts)
    of_mask = None
    if weights is not None or (wanted[4] and options.training):
        of_positions = mask[counts].double() if weights is None else weights
        memory.check({"weight": weight})
        k = weighted.WeightedChannels.of(values, of_positions, weight, None, options)
        found = weighted.gradients(given, k, of_positions, outputs, options)
        of_mask = torch.zeros_like(mask, dtype=torch.float64)
        of_mask[counts] = found.mask
    if weights is not None:
        parts: tuple[Maybe, ...] = found[:4]
    elif len(values) == 0:
        parts = (given, *(x.new_zeros(x.shape[1]) for _ in range(2)), given)
    else:
        parts = kernels.backward(
            given,
            values,
            outputs,
            backends.dense(weight, "weight"),
            backends.dense(bias, "bias"),
            statistics[:UNBIASED_ROW].numpy(force=True).tobytes(),
            options,
            tuple(wanted[:4]),
        )
    of_x, of_weight, of_bias, of_residual = parts

    def whole(part: Maybe) -> Maybe:
        if part is None:
            return None
        blank = torch.zeros_like(x, memory_format=backends.result_format(x, dy))
        return _placed(blank, part.to(x.dtype), counts)

    results = (
        whole(of_x) if wanted[0] else None,
        _like(of_weight, weight) if wanted[1] else None,
        _like(of_bias, bias) if wanted[2] else None,
        whole(of_residual) if wanted[3] else None,
        _like(torch.zeros_like(mask) if of_mask is None else of_mask, mask) if wanted[4] else None,
    )
    return schema.as_promised(results, x)


def _like(gradient: Maybe, tensor: Maybe) -> Maybe:
    """Return the gradient of a tensor in its dtype; None where there is no tensor."""
    return None if gradient is None or tensor is None else gradient.to(tensor.dtype)


def _placed(target: torch.Tensor, values: torch.Tensor, counts: torch.Tensor) -> torch.Tensor:
    target.movedim(1, -1)[counts] = values
    return target


def _forward_shapes(x: torch.Tensor, *_: Any) -> tuple[torch.Tensor, torch.Tensor]:
    y = torch.empty_like(x, memory_format=backends.result_format(x))
    return y, x.new_empty((ROWS, x.shape[1]), dtype=torch.float64)


def _backward_shapes(
    dy: torch.Tensor,
    x: torch.Tensor,
    mask: torch.Tensor,
    _y: Maybe,
    weight: Maybe,
    bias: Maybe,
    _statistics: Any,
    *scalars: Any,
) -> Tensors:
    wanted = scalars[-1]
    of_x = backends.result_format(x, dy)
    preserved = torch.preserve_format
    formats = ((x, of_x), (weight, preserved), (bias, preserved), (x, of_x), (mask, preserved))
    return tuple(
        x.new_empty(0)
        if like is None or not asked
        else torch.empty_like(like, memory_format=memory_format)
        for (like, memory_format), asked in zip(formats, wanted, strict=True)
    )


schema.LIBRARY.impl("masked_batch_norm", _forward, "CPU")
schema.LIBRARY.impl("masked_batch_norm_backward", _backward, "CPU")
torch.library.register_fake("backnorm::masked_batch_norm", _forward_shapes, lib=schema.LIBRARY)
torch.library.register_fake(
    "backnorm::masked_batch_norm_backward", _backward_shapes, lib=schema.LIBRARY
)

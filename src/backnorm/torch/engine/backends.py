"""The registered operators on the CPU, and on tensors without values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch._prims_common import suggest_memory_format

from backnorm.torch.engine import kernels, memory, schema

if TYPE_CHECKING:
    from backnorm.torch.engine.schema import Maybe, Tensors

__all__ = ["dense", "result_format"]


def _forward(
    x: torch.Tensor,
    weight: Maybe,
    bias: Maybe,
    running_mean: Maybe,
    running_var: Maybe,
    residual: Maybe,
    *scalars: Any,
) -> tuple[torch.Tensor, torch.Tensor]:
    options = schema.options(*scalars)
    if options.training:  # they do not enter y, and `batch_norm` above updates them
        memory.check({"running_mean": running_mean, "running_var": running_var})
        running_mean = running_var = None
    weight, bias = dense(weight, "weight"), dense(bias, "bias")
    running_mean = dense(running_mean, "running_mean")
    running_var = dense(running_var, "running_var")
    x, residual = memory.as_read(x), _read(residual)
    y, statistics = kernels.forward(x, weight, bias, running_mean, running_var, residual, options)
    return y, kernels.rows(statistics)


def _backward(
    dy: torch.Tensor,
    x: torch.Tensor,
    y: Maybe,
    weight: Maybe,
    bias: Maybe,
    statistics: torch.Tensor,
    *scalars: Any,
) -> Tensors:
    *options, wanted = scalars
    weight, bias = dense(weight, "weight"), dense(bias, "bias")
    memory.check({"statistics": statistics})
    rows = statistics.numpy(force=True).tobytes()
    dy, x, y = memory.as_read(dy), memory.as_read(x), _read(y)
    call = schema.options(*options)
    gradients = kernels.backward(
        dy, x, y, weight, bias, rows, call, tuple(wanted), recomputable=y is None
    )
    return schema.as_promised(gradients, x)


def dense(parameter: Maybe, name: str) -> Maybe:
    """Return a parameter contiguous, as the kernels take it: under vmap it may be a view."""
    if parameter is None:
        return None
    parameter = memory.as_read(parameter)
    if parameter.is_contiguous():
        return parameter
    memory.check({name: parameter})
    return parameter.contiguous()


def _read(array: Maybe) -> Maybe:
    return None if array is None else memory.as_read(array)


def _forward_shapes(x: torch.Tensor, *_: Any) -> tuple[torch.Tensor, torch.Tensor]:
    y = torch.empty_like(x, memory_format=result_format(x))
    return y, x.new_empty((4, x.shape[1]), dtype=torch.float64)


def _backward_shapes(
    dy: torch.Tensor,
    x: torch.Tensor,
    _y: Maybe,
    weight: Maybe,
    bias: Maybe,
    _statistics: Any,
    *scalars: Any,
) -> Tensors:
    of_x, of_parameters = result_format(x, dy), torch.preserve_format
    likes = ((x, of_x), (weight, of_parameters), (bias, of_parameters), (x, of_x))
    return tuple(
        x.new_empty(0)
        if like is None or not wanted
        else torch.empty_like(like, memory_format=memory_format)
        for (like, memory_format), wanted in zip(likes, scalars[-1], strict=True)
    )


def result_format(x: torch.Tensor, dy: Maybe = None) -> torch.memory_format:
    """Return the memory format of `kernels.empty_like`, of tensors that may have no memory."""
    suggested, packed = suggest_memory_format(x), _packed_format(x)
    if packed is None:
        return suggested
    if dy is None:
        return packed
    alike = _packed_format(dy) is not None and suggest_memory_format(dy) is suggested
    return packed if alike else suggested


def _packed_format(x: torch.Tensor) -> torch.memory_format | None:
    """Return the memory format in which a tensor has no gaps."""
    for memory_format in (torch.contiguous_format, kernels.CHANNELS_LAST.get(x.dim())):
        if memory_format is not None and x.is_contiguous(memory_format=memory_format):
            return memory_format
    return None


schema.LIBRARY.impl("batch_norm", _forward, "CPU")
schema.LIBRARY.impl("batch_norm_backward", _backward, "CPU")
torch.library.register_fake("backnorm::batch_norm", _forward_shapes, lib=schema.LIBRARY)
torch.library.register_fake("backnorm::batch_norm_backward", _backward_shapes, lib=schema.LIBRARY)

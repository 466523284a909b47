"""The registered operators under vmap.

The mapped dimension becomes part of the channels, since no channel depends on another. So a mapped
call is one call of the kernels, on an array of shape (N, size*C, ...).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from backnorm.torch.engine import schema

if TYPE_CHECKING:
    from backnorm.torch.engine.schema import Maybe

__all__: list[str] = []


def _forward_vmap(info: Any, in_dims: Any, *args: Any) -> Any:
    size = info.batch_size
    x, residual = (_with_channels(args[i], in_dims[i], size) for i in (0, 5))
    channels = (_as_channels(args[i], in_dims[i], size) for i in range(1, 5))
    y, statistics = schema.FORWARD(x, *channels, residual, *args[6:])
    return (_split(y, size), _split(statistics, size)), (1, 1)


def _backward_vmap(info: Any, in_dims: Any, *args: Any) -> Any:
    size = info.batch_size
    dy, x, y = (_with_channels(args[i], in_dims[i], size) for i in range(3))
    weight, bias = (_as_channels(args[i], in_dims[i], size) for i in (3, 4))
    statistics = _with_channels(args[5], in_dims[5], size)
    *options, wanted = args[6:]
    present = (True, weight is not None, bias is not None, True)
    wanted = [asked and has for asked, has in zip(wanted, present, strict=True)]
    gradients = schema.BACKWARD(dy, x, y, weight, bias, statistics, *options, wanted)
    axes = (1, 0, 0, 1)
    mapped = tuple(
        _split(g, size, axis) if asked else g
        for g, axis, asked in zip(gradients, axes, wanted, strict=True)
    )
    return mapped, tuple(axis if asked else None for axis, asked in zip(axes, wanted, strict=True))


def _with_channels(array: Maybe, dim: int | None, size: int) -> Maybe:
    """Return (N, size*C, ...) for an array (N, C, ...) whose mapped dimension is dim, or None."""
    if array is None:
        return None
    if dim is None:
        whole = array.unsqueeze(1).expand(array.shape[0], size, *array.shape[1:])
    else:
        whole = array.movedim(dim, 1)
    return whole.flatten(1, 2)


def _as_channels(parameter: Maybe, dim: int | None, size: int) -> Maybe:
    if parameter is None:
        return None
    whole = parameter.expand(size, -1) if dim is None else parameter.movedim(dim, 0)
    return whole.reshape(-1)


def _split(array: torch.Tensor, size: int, axis: int = 1) -> torch.Tensor:
    whole: torch.Tensor = array.unflatten(axis, (size, -1))
    return whole


torch.library.register_vmap("backnorm::batch_norm", _forward_vmap, lib=schema.LIBRARY)
torch.library.register_vmap("backnorm::batch_norm_backward", _backward_vmap, lib=schema.LIBRARY)

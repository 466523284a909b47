"""The registered operators backnorm::sync_batch_norm and its gradient, each with one collective.

torch.compile, DDP and checkpointing see one functional operator a pass. The statistics that it
returns have a fifth row: how many values each channel has on all ranks. A mask is applied inside,
so that no shape depends on it.

Where running statistics move later (`deferred`), the forward pass returns the sums of this rank
too, `pending.kept` of them, and a batch may be empty on all ranks of the group.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch

from backnorm.errors import DtypeError, RangeError, ShapeError
from backnorm.kernels import exact_limbs, exact_windows
from backnorm.torch.distributed import exchange, parts, pending
from backnorm.torch.distributed.parts import Law
from backnorm.torch.distributed.windows import remember, windows_of
from backnorm.torch.engine import backends, kernels, masked, memory, schema

if TYPE_CHECKING:
    from backnorm._types import Float64Array, Int64Array
    from backnorm.torch.engine.schema import Maybe, Tensors

__all__ = ["BACKWARD", "FORWARD", "LAW", "N_ROW", "between_zeros", "counting", "with_count"]

LAW: Final = "float eps, str activation, float negative_slope, str through"
N_ROW: Final = 4

schema.LIBRARY.define(
    "sync_batch_norm(Tensor x, Tensor? weight, Tensor? bias, Tensor? residual, Tensor? mask,"
    " Tensor layer, int channels, bool deferred, bool reduce_parameters, str group,"
    f" {LAW}) -> (Tensor, Tensor, Tensor)"
)
schema.LIBRARY.define(
    "sync_batch_norm_backward(Tensor dy, Tensor x, Tensor? y, Tensor? weight, Tensor? bias,"
    " Tensor? mask, Tensor statistics, Tensor layer, bool reduce_parameters, str group,"
    f" {LAW}, bool[4] wanted) -> (Tensor, Tensor, Tensor, Tensor)"
)

FORWARD: Final = torch.ops.backnorm.sync_batch_norm.default
BACKWARD: Final = torch.ops.backnorm.sync_batch_norm_backward.default


def _forward(
    x: torch.Tensor,
    weight: Maybe,
    bias: Maybe,
    residual: Maybe,
    mask: Maybe,
    layer: torch.Tensor,
    channels: int,
    deferred: bool,
    reduce_parameters: bool,  # noqa: ARG001 - for the gradient
    group: str,
    *scalars: Any,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    law = Law(*scalars)
    own: list[Any] = []

    def write(limbs: Int64Array) -> tuple[int]:
        _check(x, residual, mask, channels)
        _check_parameters(weight, bias, channels)
        named = {"input": x, "weight": weight, "bias": bias, "residual": residual, "mask": mask}
        memory.check(named)
        # It is called again with limbs of float64 if another rank has that dtype.
        first = own[2] if own else limbs
        given, *_ = own[:] = [*counting((x, residual), mask), first]
        parts.write_moments(given, limbs)
        return (parts.count(given),)

    total = exchange.add_up(
        lambda double: exact_limbs.for_moments(channels, double=double),
        exact_windows.MOMENTS,
        windows_of(layer, "forward"),
        write,
        group,
        double=x.dtype == torch.float64,
    )
    n = int(total.counts[0])
    if n < 2 and not (deferred and n == 0):  # noqa: PLR2004 - of one value no unbiased variance
        raise RangeError.one_value_on_all_ranks(n)
    statistics = exact_limbs.statistics_of(total.limbs, max(n, 1), law.eps)
    if n:
        remember(layer, "forward", exact_windows.for_moments(statistics, n))
    given, added, limbs = own
    y = _empty_like(given)
    parts.normalize(given, y, added, (weight, bias), statistics, n, law)
    sums = (
        pending.kept(limbs, parts.count(given)) if deferred else torch.empty(0, dtype=torch.int64)
    )
    return between_zeros(y, x, mask), with_count(statistics, n), sums


def with_count(statistics: Float64Array, n: int) -> torch.Tensor:
    """Return the statistics with a row of how many values they are of."""
    return torch.from_numpy(np.concatenate([statistics, np.full((1, statistics.shape[1]), n)]))


def _check(x: torch.Tensor, residual: Maybe, mask: Maybe, channels: int) -> None:
    if x.dtype not in parts.DTYPES:
        raise DtypeError.not_synchronized(str(x.dtype), [str(dtype) for dtype in parts.DTYPES])
    if not 2 <= x.dim() <= kernels.MOST_AXES:  # noqa: PLR2004 - (N, C)
        raise ShapeError.axes_of_batch(x.shape, kernels.MOST_AXES)
    if x.shape[1] != channels:
        raise ShapeError.features(x.shape[1], channels, 1)
    if residual is not None and residual.shape != x.shape:
        raise ShapeError.same_as("residual", residual.shape, "input", x.shape)
    if residual is not None and residual.dtype != x.dtype:
        raise DtypeError.same_as("residual", residual.dtype, "input", x.dtype)
    if mask is not None:
        masked.check(mask, x)
        if mask.dtype != torch.bool:
            raise DtypeError.not_a_mask(mask.dtype)


def _check_parameters(weight: Maybe, bias: Maybe, channels: int) -> None:
    for name, parameter in (("weight", weight), ("bias", bias)):
        if parameter is not None and parameter.shape != (channels,):
            raise ShapeError.per_channel(name, parameter.shape, channels, 1)


def _backward(
    dy: torch.Tensor,
    x: torch.Tensor,
    y: Maybe,
    weight: Maybe,
    bias: Maybe,
    mask: Maybe,
    statistics: torch.Tensor,
    layer: torch.Tensor,
    reduce_parameters: bool,
    group: str,
    *scalars: Any,
) -> Tensors:
    *options, wanted = scalars
    law, rows = Law(*options), statistics.numpy()
    channels, n = rows.shape[1], int(rows[N_ROW, 0])
    rows = rows[:N_ROW]
    own: list[Any] = []

    def write(limbs: Int64Array) -> tuple[int]:
        memory.check({"dy": dy, "input": x, "output": y, "weight": weight, "mask": mask})
        own_dy, own_x, own_y = own[:] = counting((dy, x, y), mask)
        parts.write_comoments(own_dy, own_x, own_y, limbs, law)
        return (0,)

    total = exchange.add_up(
        lambda double: exact_limbs.for_comoments(channels, law.activation, double=double),
        exact_windows.COMOMENTS,
        windows_of(layer, "backward"),
        write,
        group,
        double=x.dtype == torch.float64,
    )
    sums = exact_limbs.sums_of(total.limbs, rows, law.negative_slope)
    if n:
        remember(layer, "backward", exact_windows.for_comoments(rows, sums, n, total.own.shape[1]))
    of_rank = sums
    if not reduce_parameters:
        of_rank = exact_limbs.sums_of(total.own, rows, law.negative_slope)
    own_dy, own_x, own_y = own
    of_x, of_residual = (_empty_like(own_x, own_dy) if wanted[k] else None for k in (0, 3))
    results = (of_x, of_residual)
    parts.store_gradients(own_dy, own_x, own_y, results, weight, rows, sums, n, law)
    dx, dresidual = (None if g is None else between_zeros(g, x, mask, dy) for g in results)
    dweight, dbias = (
        None if like is None or not asked else torch.from_numpy(row).to(like.dtype)
        for like, asked, row in zip((weight, bias), wanted[1:3], of_rank[:2], strict=True)
    )
    return schema.as_promised((dx, dweight, dbias, dresidual), x)


def counting(tensors: tuple[Maybe, ...], mask: Maybe) -> list[Any]:
    """Return what counts of tensors: shape (count, C) with a mask."""
    return [t if t is None or mask is None else masked.gather(t, mask) for t in tensors]


def between_zeros(
    values: torch.Tensor, x: torch.Tensor, mask: Maybe, dy: Maybe = None
) -> torch.Tensor:
    """Return results of what counts in the shape of x, and 0 elsewhere."""
    return values if mask is None else masked.spread(values, _shape_like(x, dy), mask)


def _empty_like(x: torch.Tensor, dy: Maybe = None) -> torch.Tensor:
    if x.numel() and kernels.available():
        return kernels.empty_like(x, dy)  # in recycled memory
    return _shape_like(x, dy)


def _shape_like(x: torch.Tensor, dy: Maybe = None) -> torch.Tensor:
    return torch.empty_like(x, memory_format=backends.result_format(x, dy))


def _forward_shapes(
    x: torch.Tensor,
    _weight: Any,
    _bias: Any,
    _residual: Any,
    _mask: Any,
    _layer: Any,
    channels: int,
    deferred: bool,
    *_: Any,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    shape = (channels, pending.width(x.dtype)) if deferred else (0,)
    sums = x.new_empty(shape, dtype=torch.int64)
    return _shape_like(x), x.new_empty((N_ROW + 1, channels), dtype=torch.float64), sums


def _backward_shapes(
    dy: torch.Tensor,
    x: torch.Tensor,
    _y: Maybe,
    weight: Maybe,
    bias: Maybe,
    *scalars: Any,
) -> Tensors:
    wanted = scalars[-1]
    of_x = [_shape_like(x, dy) if wanted[k] else x.new_empty(0) for k in (0, 3)]
    of_parameters = [
        x.new_empty(0) if like is None or not asked else torch.empty_like(like)
        for like, asked in zip((weight, bias), wanted[1:3], strict=True)
    ]
    return (of_x[0], *of_parameters, of_x[1])


schema.LIBRARY.impl("sync_batch_norm", _forward, "CPU")
schema.LIBRARY.impl("sync_batch_norm_backward", _backward, "CPU")
torch.library.register_fake("backnorm::sync_batch_norm", _forward_shapes, lib=schema.LIBRARY)
torch.library.register_fake(
    "backnorm::sync_batch_norm_backward", _backward_shapes, lib=schema.LIBRARY
)

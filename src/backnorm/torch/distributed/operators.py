"""The registered operators backnorm::sync_batch_norm and its gradient, each with one collective.

torch.compile, DDP and checkpointing see one functional operator a pass. The statistics that it
returns have a fifth row: how many values each channel has on all ranks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch

from backnorm.errors import DtypeError, NotSupportedError, RangeError, ShapeError
from backnorm.kernels import exact_limbs, exact_windows
from backnorm.torch.distributed import exchange, parts
from backnorm.torch.distributed.parts import Law
from backnorm.torch.distributed.windows import remember, windows_of
from backnorm.torch.engine import backends, kernels, memory, schema
from backnorm.torch.engine.functional import MOST_AXES

if TYPE_CHECKING:
    from backnorm._types import Int64Array
    from backnorm.torch.engine.schema import Maybe, Tensors

__all__ = ["FORWARD", "N_ROW"]

LAW: Final = "float eps, str activation, float negative_slope, str through"
N_ROW: Final = 4

schema.LIBRARY.define(
    "sync_batch_norm(Tensor x, Tensor? weight, Tensor? bias, Tensor? residual, Tensor layer,"
    f" int channels, bool reduce_parameters, str group, {LAW}) -> (Tensor, Tensor)"
)
schema.LIBRARY.define(
    "sync_batch_norm_backward(Tensor dy, Tensor x, Tensor? y, Tensor? weight, Tensor? bias,"
    f" Tensor statistics, Tensor layer, bool reduce_parameters, str group, {LAW}, bool[4] wanted)"
    " -> (Tensor, Tensor, Tensor, Tensor)"
)

FORWARD: Final = torch.ops.backnorm.sync_batch_norm.default
BACKWARD: Final = torch.ops.backnorm.sync_batch_norm_backward.default


def _forward(
    x: torch.Tensor,
    weight: Maybe,
    bias: Maybe,
    residual: Maybe,
    layer: torch.Tensor,
    channels: int,
    reduce_parameters: bool,  # noqa: ARG001 - for the gradient
    group: str,
    *scalars: Any,
) -> tuple[torch.Tensor, torch.Tensor]:
    law = Law(*scalars)

    def write(limbs: Int64Array) -> int:
        _check(x, residual, channels)
        memory.check({"input": x, "weight": weight, "bias": bias, "residual": residual})
        parts.write_moments(x, limbs)
        return parts.count(x)

    window = windows_of(layer, "forward")
    own = exact_limbs.for_moments(channels)
    total = exchange.add_up(own, exact_windows.MOMENTS, window, write, group)
    if total.n < 2:  # noqa: PLR2004 - of one value there is no unbiased variance
        raise RangeError.one_value_on_all_ranks(total.n)
    statistics = exact_limbs.statistics_of(total.limbs, total.n, law.eps)
    remember(layer, "forward", exact_windows.for_moments(statistics, total.n))
    y = _empty_like(x)
    parts.normalize(x, y, residual, (weight, bias), statistics, total.n, law)
    rows = np.concatenate([statistics, np.full((1, channels), float(total.n))])
    return y, torch.from_numpy(rows)


def _check(x: torch.Tensor, residual: Maybe, channels: int) -> None:
    if x.dtype not in parts.DTYPES:
        raise DtypeError.not_synchronized(str(x.dtype), [str(dtype) for dtype in parts.DTYPES])
    if not 2 <= x.dim() <= MOST_AXES:  # noqa: PLR2004 - (N, C)
        raise ShapeError.axes_of_batch(x.shape, MOST_AXES)
    if x.shape[1] != channels:
        raise ShapeError.features(x.shape[1], channels, 1)
    if residual is not None and residual.shape != x.shape:
        raise ShapeError.same_as("residual", residual.shape, "input", x.shape)
    if residual is not None and residual.dtype != x.dtype:
        raise DtypeError.same_as("residual", residual.dtype, "input", x.dtype)


def _backward(
    dy: torch.Tensor,
    x: torch.Tensor,
    y: Maybe,
    weight: Maybe,
    bias: Maybe,
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

    def write(limbs: Int64Array) -> int:
        memory.check({"dy": dy, "input": x, "output": y, "weight": weight})
        parts.write_comoments(dy, x, y, limbs, law)
        return 0

    limbs = exact_limbs.for_comoments(channels, law.activation)
    window = windows_of(layer, "backward")
    total = exchange.add_up(limbs, exact_windows.COMOMENTS, window, write, group)
    sums = exact_limbs.sums_of(total.limbs, rows, law.negative_slope)
    remember(layer, "backward", exact_windows.for_comoments(rows, sums, n, limbs.shape[1]))
    own = sums
    if not reduce_parameters:
        own = exact_limbs.sums_of(total.own, rows, law.negative_slope)
    dx, dresidual = (_empty_like(x, dy) if wanted[k] else None for k in (0, 3))
    parts.store_gradients(dy, x, y, (dx, dresidual), weight, rows, sums, n, law)
    dweight = None if weight is None or not wanted[1] else torch.from_numpy(own[0]).to(weight.dtype)
    dbias = None if bias is None or not wanted[2] else torch.from_numpy(own[1]).to(bias.dtype)
    return schema.as_promised((dx, dweight, dbias, dresidual), x)


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
    _layer: Any,
    channels: int,
    *_: Any,
) -> tuple[torch.Tensor, torch.Tensor]:
    return _shape_like(x), x.new_empty((N_ROW + 1, channels), dtype=torch.float64)


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


def _keep(ctx: Any, inputs: tuple[Any, ...], output: tuple[torch.Tensor, torch.Tensor]) -> None:
    x, weight, bias, _, layer, _, *ctx.scalars = inputs
    y, statistics = output
    law = Law(*ctx.scalars[2:])
    ctx.mark_non_differentiable(statistics)
    ctx.set_materialize_grads(False)
    kept = None if law.activation == "identity" else y
    ctx.save_for_backward(x, kept, weight, bias, statistics, layer)


def _gradients(ctx: Any, dy: Maybe, _: Any) -> tuple[Any, ...]:
    if dy is None:
        return (None,) * 12
    needs = ctx.needs_input_grad
    wanted = [needs[0], needs[1], needs[2], needs[3]]
    gradients = BACKWARD(dy, *ctx.saved_tensors, *ctx.scalars, wanted)
    given = [g if asked else None for g, asked in zip(gradients, wanted, strict=True)]
    return (*given, *(None,) * 8)


def _no_second(*_: Any) -> None:
    raise NotSupportedError.second_synchronized()


schema.LIBRARY.impl("sync_batch_norm", _forward, "CPU")
schema.LIBRARY.impl("sync_batch_norm_backward", _backward, "CPU")
for name, shapes, gradient, keep in (
    ("backnorm::sync_batch_norm", _forward_shapes, _gradients, _keep),
    ("backnorm::sync_batch_norm_backward", _backward_shapes, _no_second, None),
):
    torch.library.register_fake(name, shapes, lib=schema.LIBRARY)
    torch.library.register_autograd(name, gradient, setup_context=keep, lib=schema.LIBRARY)

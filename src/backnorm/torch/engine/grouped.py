"""Groups of samples, each normalized as one batch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch.autograd.function import _SingleLevelFunction

from backnorm.torch.engine import kernels, schema
from backnorm.torch.engine.autograd import only_runs
from backnorm.torch.engine.functional import PLAIN_TYPES
from backnorm.torch.engine.measured import MeasuredStatistics, normalize_measured, statistics_of
from backnorm.torch.engine.memory import plain

if TYPE_CHECKING:
    from collections.abc import Sequence

    from backnorm.torch.engine.kernels import CallOptions
    from backnorm.torch.engine.schema import Maybe

__all__ = ["normalize_groups"]


def normalize_groups(
    x: torch.Tensor,
    sizes: list[int],
    weight: Maybe,
    bias: Maybe,
    options: CallOptions,
    residual: Maybe = None,
    mask: Maybe = None,
) -> tuple[torch.Tensor, list[MeasuredStatistics]]:
    """Normalize each group of some samples by its statistics; return y and them."""
    parts = x.split(sizes)
    rare = residual is not None or mask is not None
    if rare or not _is_plain(parts, (x, weight, bias), options):
        others = (_split(tensor, sizes) for tensor in (residual, mask))
        pairs = [
            normalize_measured(part, weight, bias, options, *extras)
            for part, *extras in zip(parts, *others, strict=True)
        ]
        return torch.cat([y for y, _ in pairs]), [found for _, found in pairs]
    statistics: list[bytes] = []
    y: torch.Tensor = _Groups.apply(x, weight, bias, sizes, options, statistics)  # type: ignore[attr-defined] # of its base in C++
    rows = map(kernels.rows, statistics)
    return y, [statistics_of(*pair) for pair in zip(parts, rows, strict=True)]


def _split(tensor: Maybe, sizes: list[int]) -> Sequence[Maybe]:
    return [None] * len(sizes) if tensor is None else tensor.split(sizes)


def _is_plain(
    parts: tuple[torch.Tensor, ...], tensors: tuple[Maybe, ...], options: CallOptions
) -> bool:
    """Whether PyTorch only runs the call, and the kernels compute each part."""
    if not (kernels.available() and options.eps > 0.0 and only_runs() and plain(parts[0])):
        return False
    if not all(type(tensor) in PLAIN_TYPES for tensor in tensors):
        return False
    _, weight, bias = tensors
    # All parts but the last one have one shape.
    return all(
        kernels.accepts(part, weight, bias, None, None, True) for part in (parts[0], parts[-1])
    )


class _Groups(_SingleLevelFunction):
    """All groups as one node, which writes each one where it belongs.

    To join outputs and gradients of separate calls takes four times as long: their memory is new.
    """

    @staticmethod
    def forward(
        ctx: Any,
        x: torch.Tensor,
        weight: Maybe,
        bias: Maybe,
        sizes: list[int],
        options: CallOptions,
        statistics: list[bytes],
    ) -> torch.Tensor:
        """Return y, and add the statistics of each group to the list."""
        y = kernels.empty_like(x)
        for part, out in zip(x.split(sizes), y.split(sizes), strict=True):
            _, found = kernels.forward(part, weight, bias, None, None, None, options, out)
            statistics.append(found)
        ctx.save_for_backward(x, weight)
        ctx.call = (bias, sizes, options, tuple(statistics))
        return y

    @staticmethod
    def backward(ctx: Any, dy: torch.Tensor) -> tuple[Maybe, ...]:
        """Return the gradients of x, the weight and the bias."""
        x, weight = ctx.saved_tensors
        bias, sizes, options, statistics = ctx.call
        wanted = (*ctx.needs_input_grad[:3], False)
        groups = zip(dy.split(sizes), x.split(sizes), statistics, strict=True)
        # As for one batch: the operator can be differentiated again, the kernel cannot.
        if torch.is_grad_enabled() or not (plain(dy) and plain(x) and only_runs()):
            found = [
                schema.gradients(d, part, None, weight, bias, kernels.rows(s), options, wanted)
                for d, part, s in groups
            ]
            dx = torch.cat([gradients[0] for gradients in found]) if wanted[0] else None  # type: ignore[misc] # not None
        else:
            dx = kernels.empty_like(x, dy) if wanted[0] else None
            outs = [None] * len(sizes) if dx is None else dx.split(sizes)
            found = [
                kernels.backward(d, part, None, weight, bias, s, options, wanted, out=out)
                for (d, part, s), out in zip(groups, outs, strict=True)
            ]
        dweight, dbias = (_added([gradients[k] for gradients in found]) for k in (1, 2))
        return dx, dweight, dbias, None, None, None


def _added(values: list[Maybe]) -> Maybe:
    """Return the sum of the gradients of all groups; None if they are not wanted."""
    given = [value for value in values if value is not None]
    return torch.stack(given).sum(0) if given else None

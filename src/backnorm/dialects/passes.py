"""Forward passes of a dialect on the engine: by the batch, and by the running statistics."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from backnorm.dialects.semantics import (
    BatchStatistics,
    changes_root,
    eps_used,
    gamma_used,
    root_used,
)
from backnorm.ops import batch_norm

if TYPE_CHECKING:
    from backnorm._types import AnyArray, Float64Array
    from backnorm.dialects.columns import Row
    from backnorm.dialects.settings import Settings
    from backnorm.dialects.state_arrays import Stored
    from backnorm.results import Forward

__all__ = ["Moment", "Pass", "by_batch", "by_constants"]


class Moment(NamedTuple):
    """A layer at one moment: its dialect, its options, its state."""

    row: Row
    settings: Settings
    stored: Stored


class Pass(NamedTuple):
    """What the backward pass needs of the forward pass.

    Attributes
    ----------
    fwd
        What the engine returned.
    kind
        What normalized: the batch, a blend of the batch and the running statistics, the running
        statistics alone, or nothing (y is x).
    batch
        The statistics of the batch; None where the running statistics do not learn from it.
    share
        The weight of the batch in what normalized.
    """

    fwd: Forward
    kind: Literal["batch", "blend", "frozen", "identity"]
    batch: BatchStatistics | None = None
    share: float = 0.0


def by_batch(layer: Moment, x: AnyArray, axis: int) -> tuple[Forward, BatchStatistics]:
    """Normalize by the statistics of the batch, and return them.

    The engine computes 1/sqrt(var + eps). A framework that rounds var + eps first, or gives 0 for a
    root of 0, is computed in two steps: the engine measures the batch, then it normalizes by what
    the framework takes the root of.
    """
    eps = eps_used(layer.row, layer.settings, x.dtype)
    if not changes_root(layer.row, eps, x.dtype, frozen=False):
        fwd = _engine(layer, x, axis, None, None, eps)
        return fwd, BatchStatistics(fwd.mean, fwd.var, fwd.inv_std, fwd.n)
    measured = batch_norm(x, channel_axis=axis, eps=eps)
    root = root_used(layer.row, measured.var, eps, x.dtype, frozen=False)
    fwd = _engine(layer, x, axis, measured.mean, root, 0.0)
    # The statistics were given, so the engine took them for constants; they depend on x, and the
    # backward pass has to go through them.
    fwd = replace(fwd, saved=fwd.saved._replace(frozen=False))
    return fwd, BatchStatistics(measured.mean, measured.var, fwd.inv_std, measured.n)


def by_constants(layer: Moment, x: AnyArray, axis: int) -> Forward:
    """Normalize by the running statistics."""
    mean, var = layer.stored.eval_statistics(layer.row, layer.settings)
    eps, root = eps_used(layer.row, layer.settings, x.dtype), var.astype(np.float64)
    if changes_root(layer.row, eps, x.dtype, frozen=True):
        root, eps = root_used(layer.row, root, eps, x.dtype, frozen=True), 0.0
    return _engine(layer, x, axis, mean.astype(np.float64), root, eps)


def _engine(  # noqa: PLR0917 - private
    layer: Moment,
    x: AnyArray,
    axis: int,
    mean: Float64Array | None,
    var: Float64Array | None,
    eps: float,
) -> Forward:
    """Call the engine with the layer's parameters, on a copy of x where y is to replace x."""
    in_place = layer.settings.in_place
    return batch_norm(
        x.copy() if in_place else x,
        _wide(gamma_used(layer.row, layer.settings, layer.stored.gamma), x),
        _wide(layer.stored.beta, x),
        channel_axis=axis,
        eps=eps,
        running_mean=mean,
        running_var=var,
        out=x if in_place else None,
    )


def _wide(parameter: AnyArray | None, x: AnyArray) -> AnyArray | None:
    """Widen a parameter that is narrower than x, which is exact; the engine refuses to guess."""
    if parameter is None:
        return None
    return parameter.astype(np.promote_types(parameter.dtype, x.dtype), copy=False)

"""Forward mode and the second derivative where positions have weights."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from backnorm import _check
from backnorm.errors import RangeError, ShapeError
from backnorm.kernels.weighted import WeightedSteps, second, tangent
from backnorm.ops._arrays import reduced, wide
from backnorm.ops._masked import gather, gather_like, spread_like
from backnorm.ops._weighted import batch_of, by_weights
from backnorm.results import WeightedForward, WeightedSecondGradients

if TYPE_CHECKING:
    import numpy.typing as npt

    from backnorm._types import AnyArray, Float64Array, Through
    from backnorm.results import Forward, SecondGradients

__all__ = ["steps_of", "weighted_second", "weighted_tangent", "weights_step"]


def weights_step(name: str, value: npt.ArrayLike | None, fwd: Forward) -> Float64Array | None:
    """Return the tangent of the weights that count, or the gradient of dmask; shape (count,)."""
    if value is None:
        return None
    if not isinstance(fwd, WeightedForward):
        raise RangeError.no_parameter(name, "weights")
    given = np.asarray(value)
    _check.dtype_name(name, given.dtype)
    if given.shape != fwd.weights.shape:
        raise ShapeError.same_as(name, given.shape, "mask", fwd.weights.shape)
    chosen: Float64Array = given[fwd.mask].astype(np.float64)
    return chosen


def steps_of(
    fwd: WeightedForward,
    *,
    x: AnyArray | None,
    residual: AnyArray | None,
    weights: Float64Array | None,
    gamma: AnyArray | None,
    beta: AnyArray | None,
) -> WeightedSteps:
    """Return steps as the functions of `kernels.weighted` take them."""
    return WeightedSteps(
        gather_like(x, fwd), gather_like(residual, fwd), weights, wide(gamma), wide(beta)
    )


def weighted_tangent(steps: WeightedSteps, fwd: WeightedForward, through: Through) -> AnyArray:
    """Return the tangent of y; 0 where a weight is 0."""
    moves = through if not fwd.saved.frozen else "none"
    found = tangent(
        steps,
        batch_of(fwd),
        through_mean=moves in ("both", "mean"),
        through_variance=moves in ("both", "variance"),
    )
    return _placed(found, fwd)


def weighted_second(
    steps: WeightedSteps, dy: AnyArray, fwd: WeightedForward, of_mask: SecondGradients
) -> WeightedSecondGradients:
    """Return the second derivative; of_mask is the one in which the weights are a mask.

    With frozen statistics, or if the weights are equal and dmask takes no part, the latter is
    right, but for the derivative by the weights.
    """
    if fwd.saved.frozen:
        nothing = np.zeros_like(fwd.weights)
        return WeightedSecondGradients(of_mask.x, of_mask.dy, of_mask.gamma, nothing)
    batch = batch_of(fwd)
    by = second(steps, gather(dy, fwd.mask, fwd.saved.channel_axis), batch)
    mask = by_weights(by.weights, fwd)
    if steps.weights is None and fwd.is_mask:
        return WeightedSecondGradients(of_mask.x, of_mask.dy, of_mask.gamma, mask)
    with np.errstate(over="ignore"):
        gamma = reduced("write", by.gamma, None, fwd.saved.gamma)
    return WeightedSecondGradients(_placed(by.x, fwd), _placed(by.dy, fwd), gamma, mask)


def _placed(values: Float64Array, fwd: WeightedForward) -> AnyArray:
    with np.errstate(over="ignore"):
        rounded = values.astype(fwd.saved.x.dtype)
    return spread_like(rounded, fwd)

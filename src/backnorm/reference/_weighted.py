"""Weights: statistics of values that count more or less, and the gradient, also by the weights."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from backnorm.reference._channels import rows, spread, total, widen
from backnorm.reference._forward import Normalized
from backnorm.results import WeightedGradients

if TYPE_CHECKING:
    from backnorm._types import AnyArray, Through

__all__ = ["weighted_backward", "weighted_forward"]


def weighted_forward(
    x: AnyArray,
    weights: AnyArray,
    gamma: AnyArray | None = None,
    beta: AnyArray | None = None,
    *,
    channel_axis: int = 1,
    eps: float = 1e-5,
) -> Normalized:
    """Normalize by a weighted mean and variance: m = sum(w*x)/sum(w), v = sum(w*(x - m)^2)/sum(w).

    Eq. (31) and (32) of docs/mathematics.md. Weights are greater than 0: a weight of 0 hides a
    value, and there is nothing to compute for it.

    Parameters
    ----------
    x
        Input; any number of axes, any float or complex dtype. [x]
    weights
        Shape of x without its channels; greater than 0. Only their ratios count.
    gamma
        Scale; shape (C,); None stands for 1. [y]
    beta
        Shift; shape (C,); None stands for 0. [y]
    channel_axis
        The axis of x that holds the channels.
    eps
        Added to the variance. [x]^2

    Returns
    -------
    Normalized
        As of `forward`; n is how many values each channel has.

    Raises
    ------
    IndexError
        If x has no axis `channel_axis`; nothing else is checked.

    Notes
    -----
    Source: docs/mathematics.md.

    Accuracy: as `forward` (`tests/test_reference_weighted.py`).

    Cost: three passes over x, three temporary arrays.

    Examples
    --------
    The value 6 counts three times as much as the value 2:

    >>> import numpy as np
    >>> from backnorm import reference
    >>> fwd = reference.weighted_forward(np.array([[2.0], [6.0]]), np.array([1.0, 3.0]), eps=0.0)
    >>> fwd.mean.tolist(), fwd.var.tolist()
    ([5.0], [3.0])
    """
    x = widen(x)
    w = np.expand_dims(widen(weights), channel_axis)
    n = w.sum()
    mean = total(w * x, channel_axis) / n
    centred = x - spread(mean, x.ndim, channel_axis)
    var = total(w * (centred * centred), channel_axis) / n
    inv_std = 1 / np.sqrt(var + eps)
    x_hat = centred * spread(inv_std, x.ndim, channel_axis)
    y = x_hat
    if gamma is not None:
        y = y * spread(widen(gamma), x.ndim, channel_axis)
    if beta is not None:
        y = y + spread(widen(beta), x.ndim, channel_axis)
    return Normalized(y, x_hat, mean, var, inv_std, rows(x, channel_axis).shape[1])


def weighted_backward(
    dy: AnyArray,
    x: AnyArray,
    weights: AnyArray,
    gamma: AnyArray | None = None,
    *,
    channel_axis: int = 1,
    eps: float = 1e-5,
    through: Through = "both",
) -> WeightedGradients:
    """Gradient of the loss by x, gamma, beta and the weights, through both statistics.

    Eq. (32) and (33) of docs/mathematics.md.

    Parameters
    ----------
    dy
        Gradient of the loss with respect to y; shape of x, any float or complex dtype. [loss]/[y]
    x
        Input of the forward pass; any number of axes, any float or complex dtype. [x]
    weights
        Shape of x without its channels; greater than 0.
    gamma
        Scale; shape (C,); None stands for 1. [y]
    channel_axis
        The axis of x that holds the channels.
    eps
        Added to the variance. [x]^2
    through
        Which statistics contribute to dx and dmask; the direct path always does.

    Returns
    -------
    WeightedGradients
        dx (shape of x), dgamma and dbeta (shape (C,)), dmask (shape of the weights).

    Raises
    ------
    IndexError
        If x has no axis `channel_axis`; nothing else is checked.

    Notes
    -----
    Source: docs/mathematics.md, derived there from the chain rule.

    Accuracy: as `backward` (`tests/test_reference_weighted.py`).

    Cost: a forward pass and four more.

    Examples
    --------
    The mean is 5, the variance 3 and eps 1, so inv_std is 1/2 and x_hat is (-3/2, 1/2):

    >>> import numpy as np
    >>> from backnorm import reference
    >>> x, w, dy = np.array([[2.0], [6.0]]), np.array([1.0, 3.0]), np.array([[2.0], [0.0]])
    >>> g = reference.weighted_backward(dy, x, w, eps=1.0)
    >>> g.dx[:, 0].tolist(), g.dgamma.tolist(), g.dmask.tolist()
    ([0.1875, -0.1875], [-3.0], [1.3125, -0.4375])
    """
    fwd = weighted_forward(x, weights, channel_axis=channel_axis, eps=eps)
    w = np.expand_dims(widen(weights), channel_axis)
    n, ndim, x_hat, dy = w.sum(), fwd.x_hat.ndim, fwd.x_hat, widen(dy)

    def each(per_channel: AnyArray) -> AnyArray:
        return spread(per_channel, ndim, channel_axis)

    scale = fwd.inv_std if gamma is None else widen(gamma) * fwd.inv_std
    d = each(scale) * dy
    d_sum, d_x_hat_sum = total(d, channel_axis), total(d * x_hat, channel_axis)
    dx = d
    by_weight = np.zeros_like(d)
    if through in ("both", "mean"):
        dx = dx - w / n * each(d_sum)
        by_weight = by_weight - x_hat * each(d_sum / fwd.inv_std) / n
    if through in ("both", "variance"):
        dx = dx - w / n * x_hat * each(d_x_hat_sum)
        curve = x_hat * x_hat - each(fwd.var * fwd.inv_std * fwd.inv_std)
        by_weight = by_weight - curve * each(d_x_hat_sum / fwd.inv_std) / (2 * n)
    return WeightedGradients(
        dx,
        total(dy * x_hat, channel_axis),
        total(dy, channel_axis),
        dmask=by_weight.sum(channel_axis),
    )

"""Pairs that normalize over any axes, and whose names and attributes do not say which."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

if TYPE_CHECKING:
    from backnorm._types import AnyArray

__all__ = ["Over"]

EPS = 1e-5


@dataclass(frozen=True)
class Over:
    """Normalization over axes, with gamma along others.

    Attributes
    ----------
    over
        From the number of axes of x to the axes that share their statistics.
    gamma_axis
        From the number of axes of x to the axis of gamma.
    mean, variance
        Whether the gradient goes through them.
    rms
        Whether no mean is subtracted.
    """

    over: Any
    gamma_axis: Any
    mean: bool = True
    variance: bool = True
    rms: bool = False
    dtypes: ClassVar = ("float64",)

    def forward(self, x: AnyArray, gamma: AnyArray, beta: AnyArray) -> tuple[AnyArray, Any]:
        """Return y and the cache."""
        axes = self.over(x.ndim)
        shape = [1] * x.ndim
        shape[self.gamma_axis(x.ndim)] = len(gamma)
        column = gamma.reshape(shape)
        centred = x if self.rms else x - x.mean(axes, keepdims=True)
        inv_std = 1 / np.sqrt((centred**2).mean(axes, keepdims=True) + EPS)
        x_hat = centred * inv_std
        y = column * x_hat + (0.0 if beta is None else beta.reshape(shape))
        return y, (x_hat, inv_std, column, axes)

    def backward(self, dy: AnyArray, cache: Any) -> tuple[AnyArray, AnyArray, AnyArray]:
        """Return dx, dgamma, dbeta."""
        x_hat, inv_std, column, axes = cache
        d = column * dy * inv_std
        dx = d.copy()
        if self.mean and not self.rms:
            dx -= d.mean(axes, keepdims=True)
        if self.variance:
            dx -= x_hat * (d * x_hat).mean(axes, keepdims=True)
        others = tuple(axis for axis, length in enumerate(column.shape) if length == 1)
        return dx, (dy * x_hat).sum(others), dy.sum(others)

"""Pairs that are right on usual inputs, and pairs that are right on unusual inputs too."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from backnorm.audit.specimens import parts
from backnorm.audit.specimens.harmless import Caffe
from backnorm.audit.specimens.plain import Plain
from backnorm.audit.specimens.wrong import EpsOutsideThenInside

if TYPE_CHECKING:
    from backnorm._types import AnyArray
    from backnorm.audit.specimens.parts import Cache, GradientTuple

__all__ = [
    "AnyAxes",
    "CaffeWithZero",
    "Clipped",
    "ClippedForward",
    "EpsOutsideWithZero",
    "MemoryAsked",
    "MemoryTrusted",
    "TwoAxesCounted",
]

CLIP: Final = 6e4
"""Size at which x is clipped: near the largest float16."""


class CaffeWithZero:
    """The gradient made from the output, but for channels whose gamma is 0: they keep x_hat."""

    @staticmethod
    def forward(x: AnyArray, gamma: AnyArray, beta: AnyArray) -> tuple[AnyArray, Any]:
        y, cache = Plain.forward(x, gamma, beta)
        return y, (*Caffe.forward(x, gamma, beta)[1], cache.x_hat)

    @staticmethod
    def backward(dy: AnyArray, cache: Any) -> GradientTuple:
        y, gamma, beta, inv_std, x_hat = cache
        zero = gamma == 0
        x_hat = np.where(zero, x_hat, (y - beta) / np.where(zero, 1, gamma))
        return Plain.backward(dy, parts.Cache(x_hat, x_hat, inv_std, beta, gamma))


class EpsOutsideWithZero(EpsOutsideThenInside):
    """1/(sqrt(var) + eps), and no path through a root that is 0."""

    @staticmethod
    def backward(dy: AnyArray, cache: Cache) -> GradientTuple:
        centred = cache.x - cache.mean
        std = np.sqrt(parts.mean_of(centred**2))
        v = -centred / np.where(std == 0, 1, std) * parts.along(dy, cache)
        dx = parts.direct(dy, cache) + parts.through_mean(dy, cache) + v
        return dx, *parts.parameters(dy, cache)


class MemoryTrusted(Plain):
    """The backward pass reads dy in memory order, and takes its axes for the axes of x."""

    @staticmethod
    def backward(dy: AnyArray, cache: Cache) -> GradientTuple:
        return Plain.backward(dy.ravel(order="K").reshape(dy.shape), cache)


class MemoryAsked(Plain):
    """The same, after dy was made contiguous."""

    @staticmethod
    def backward(dy: AnyArray, cache: Cache) -> GradientTuple:
        return MemoryTrusted.backward(np.ascontiguousarray(dy), cache)


def _rows(x: AnyArray) -> AnyArray:
    """View x of any number of axes with one channel in each row."""
    return np.moveaxis(x, 1, 0).reshape(x.shape[1], -1)


def _of_rows(rows: AnyArray, like: AnyArray) -> AnyArray:
    shape = (like.shape[1], like.shape[0], *like.shape[2:])
    return np.moveaxis(rows.reshape(shape), 0, 1)


class AnyAxes:
    """Reduces over all axes except the channel axis, however many there are."""

    @staticmethod
    def forward(x: AnyArray, gamma: AnyArray, beta: AnyArray) -> tuple[AnyArray, Any]:
        rows = _rows(x)
        centred = rows - rows.mean(1, keepdims=True)
        inv_std = 1 / np.sqrt((centred**2).mean(1, keepdims=True) + parts.EPS)
        x_hat = centred * inv_std
        return _of_rows(gamma[:, None] * x_hat + beta[:, None], x), (x_hat, inv_std, gamma)

    @staticmethod
    def backward(dy: AnyArray, cache: Any) -> GradientTuple:
        return _of_any_axes(dy, cache, dy.size / dy.shape[1])


class TwoAxesCounted(AnyAxes):
    """The same, but n counts samples and two axes of positions only."""

    @staticmethod
    def backward(dy: AnyArray, cache: Any) -> GradientTuple:
        return _of_any_axes(dy, cache, len(dy) * math.prod(dy.shape[2:4]))


def _of_any_axes(dy: AnyArray, cache: Any, n: float) -> GradientTuple:
    """Return the gradients, with sums divided by n."""
    x_hat, inv_std, gamma = cache
    rows = _rows(dy)
    d = gamma[:, None] * inv_std * rows
    dx = d - d.sum(1, keepdims=True) / n - x_hat * (d * x_hat).sum(1, keepdims=True) / n
    return _of_rows(dx, dy), (rows * x_hat).sum(1), rows.sum(1)


class Clipped:
    """x is clipped, and the gradient is 0 where it was clipped."""

    @staticmethod
    def forward(x: AnyArray, gamma: AnyArray, beta: AnyArray) -> tuple[AnyArray, Any]:
        y, cache = Plain.forward(np.clip(x, -CLIP, CLIP), gamma, beta)
        return y, (cache, np.abs(x) < CLIP)

    @staticmethod
    def backward(dy: AnyArray, cache: Any) -> GradientTuple:
        inner, within = cache
        dx, dgamma, dbeta = Plain.backward(dy, inner)
        return dx * within, dgamma, dbeta


class ClippedForward(Clipped):
    """x is clipped, but the gradient is the gradient by the clipped x."""

    @staticmethod
    def backward(dy: AnyArray, cache: Any) -> GradientTuple:
        inner, _ = cache
        return Plain.backward(dy, inner)

"""Other known faults: forgotten terms, and a forward and a backward pass that do not match."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from backnorm.audit.specimens import parts
from backnorm.audit.specimens.plain import Frozen, Plain

if TYPE_CHECKING:
    from backnorm._types import AnyArray
    from backnorm.audit.specimens.parts import Cache, GradientTuple

__all__ = [
    "BetaForgotten",
    "Dead",
    "EpsOutsideThenInside",
    "EvalThenTraining",
    "GammaForgotten",
    "GammaSign",
    "InputForgotten",
    "MeanNotDivided",
    "RunningInTraining",
    "UnbiasedThenBiased",
    "VarianceNotDivided",
]


class UnbiasedThenBiased(Plain):
    """The forward pass divides by n - 1, the backward pass by n."""

    @staticmethod
    def forward(x: AnyArray, gamma: AnyArray, beta: AnyArray) -> tuple[AnyArray, Cache]:
        inv_std = 1 / np.sqrt(x.var(parts.AXES, ddof=1, keepdims=True) + parts.EPS)
        return parts.normalize(x, gamma, beta, parts.mean_of(x), inv_std)


class GammaForgotten(Plain):
    """dx starts from dy where it should start from gamma*dy."""

    @staticmethod
    def backward(dy: AnyArray, cache: Cache) -> GradientTuple:
        return Plain.backward(dy, replace(cache, gamma=np.ones_like(cache.gamma)))


class EpsOutsideThenInside(Plain):
    """The forward pass divides by sqrt(var) + eps; the gradient is the one for sqrt(var + eps)."""

    @staticmethod
    def forward(x: AnyArray, gamma: AnyArray, beta: AnyArray) -> tuple[AnyArray, Cache]:
        inv_std = 1 / (x.std(parts.AXES, keepdims=True) + parts.EPS)
        return parts.normalize(x, gamma, beta, parts.mean_of(x), inv_std)


class RunningInTraining(Plain):
    """Running statistics, just updated, normalize in training; the gradient is the batch's."""

    @staticmethod
    def forward(x: AnyArray, gamma: AnyArray, beta: AnyArray) -> tuple[AnyArray, Cache]:
        mean = 0.9 * parts.RUNNING_MEAN + 0.1 * parts.mean_of(x)
        var = 0.9 * parts.RUNNING_VAR + 0.1 * x.var(parts.AXES, keepdims=True)
        return parts.normalize(x, gamma, beta, mean, 1 / np.sqrt(var + parts.EPS))


class EvalThenTraining(Frozen):
    """The forward pass for evaluation, followed by the backward pass for training."""

    backward = staticmethod(Plain.backward)


class VarianceNotDivided(Plain):
    """The sum in the path through the variance is not divided by n."""

    @staticmethod
    def backward(dy: AnyArray, cache: Cache) -> GradientTuple:
        d = parts.direct(dy, cache)
        total = (d * cache.x_hat).sum(parts.AXES, keepdims=True)
        dx = d + parts.through_mean(dy, cache) - cache.x_hat * total
        return dx, *parts.parameters(dy, cache)


class MeanNotDivided(Plain):
    """The sum in the path through the mean is not divided by n."""

    @staticmethod
    def backward(dy: AnyArray, cache: Cache) -> GradientTuple:
        d = parts.direct(dy, cache)
        dx = d - d.sum(parts.AXES, keepdims=True) + parts.through_variance(dy, cache)
        return dx, *parts.parameters(dy, cache)


class GammaSign(Plain):
    """dgamma has the wrong sign."""

    @staticmethod
    def backward(dy: AnyArray, cache: Cache) -> GradientTuple:
        dx, _, dbeta = Plain.backward(dy, cache)
        return dx, -(dy * cache.x_hat).sum(parts.AXES), dbeta


class InputForgotten(Plain):
    """dgamma is the sum of dy: x_hat is missing."""

    @staticmethod
    def backward(dy: AnyArray, cache: Cache) -> GradientTuple:
        dx, _, dbeta = Plain.backward(dy, cache)
        return dx, dbeta, dbeta


class BetaForgotten(Plain):
    """dbeta is missing."""

    @staticmethod
    def backward(dy: AnyArray, cache: Cache) -> GradientTuple:
        dx, dgamma, _ = Plain.backward(dy, cache)
        return dx, dgamma, None


class Dead(Plain):
    """y is beta, whatever x is; the gradient of 0 is right, and as a missing gradient."""

    @staticmethod
    def forward(x: AnyArray, gamma: AnyArray, beta: AnyArray) -> tuple[AnyArray, Cache]:
        return Plain.forward(x, 0 * gamma, beta)

    @staticmethod
    def backward(dy: AnyArray, cache: Cache) -> GradientTuple:
        dx, _, _ = Plain.backward(dy, cache)
        dgamma, dbeta = parts.parameters(dy, cache)
        return dx, 0 * dgamma, dbeta

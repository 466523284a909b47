"""Pairs that look suspicious and are right."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from backnorm.audit.specimens import parts
from backnorm.audit.specimens.plain import Plain
from backnorm.audit.specimens.wrong import (
    EpsOutsideThenInside,
    RunningInTraining,
    UnbiasedThenBiased,
)

if TYPE_CHECKING:
    from backnorm._types import AnyArray
    from backnorm.audit.specimens.parts import Cache, GradientTuple

__all__ = [
    "AllTerms",
    "Blend",
    "Caffe",
    "EpsOutside",
    "FusedAffine",
    "MeanCutInVariance",
    "SmallGamma",
    "TermDropped",
    "Unbiased",
]


class Caffe:
    """The gradient made from the output: neither x nor the mean is kept."""

    @staticmethod
    def forward(x: AnyArray, gamma: AnyArray, beta: AnyArray) -> tuple[AnyArray, Any]:
        y, cache = Plain.forward(x, gamma, beta)
        return y, (y, parts.column(gamma), parts.column(beta), cache.inv_std)

    @staticmethod
    def backward(dy: AnyArray, cache: Any) -> GradientTuple:
        y, gamma, beta, inv_std = cache
        x_hat = (y - beta) / gamma
        d = gamma * dy
        dx = (d - parts.mean_of(d) - parts.mean_of(d * x_hat) * x_hat) * inv_std
        return dx, (dy * x_hat).sum(parts.AXES), dy.sum(parts.AXES)


class FusedAffine:
    """y = a*x + b with a = gamma*inv_std and b = beta - a*mean, differentiated as such."""

    @staticmethod
    def forward(x: AnyArray, gamma: AnyArray, beta: AnyArray) -> tuple[AnyArray, Cache]:
        _, cache = Plain.forward(x, gamma, beta)
        a = cache.gamma * cache.inv_std
        return a * x + (parts.column(beta) - a * cache.mean), cache

    @staticmethod
    def backward(dy: AnyArray, cache: Cache) -> GradientTuple:
        a = cache.gamma * cache.inv_std
        n = dy.size / dy.shape[1]
        db = dy.sum(parts.AXES, keepdims=True)
        da = (dy * cache.x).sum(parts.AXES, keepdims=True) - cache.mean * db
        dvar = -0.5 * da * cache.gamma * cache.inv_std**3
        dx = a * dy - a * db / n + dvar * 2 * (cache.x - cache.mean) / n
        return dx, (da * cache.inv_std).ravel(), db.ravel()


class AllTerms(Plain):
    """The textbook chain, with the term through sum(x - mean), which is 0."""

    @staticmethod
    def backward(dy: AnyArray, cache: Cache) -> GradientTuple:
        centred, n = cache.x - cache.mean, dy.size / dy.shape[1]
        dvar = -0.5 * (cache.gamma * dy * centred).sum(parts.AXES, keepdims=True)
        dvar = dvar * cache.inv_std**3
        dmean = -(cache.gamma * dy * cache.inv_std).sum(parts.AXES, keepdims=True)
        dmean = dmean + dvar * parts.mean_of(-2 * centred)
        dx = cache.gamma * dy * cache.inv_std + dvar * 2 * centred / n + dmean / n
        return dx, *parts.parameters(dy, cache)


class TermDropped(Plain):
    """The same chain without the term through sum(x - mean)."""

    @staticmethod
    def backward(dy: AnyArray, cache: Cache) -> GradientTuple:
        n = dy.size / dy.shape[1]
        dx_hat = cache.gamma * dy
        dstd = -(dx_hat * cache.x_hat).sum(parts.AXES, keepdims=True) * cache.inv_std
        dmean = -(dx_hat * cache.inv_std).sum(parts.AXES, keepdims=True)
        dx = dx_hat * cache.inv_std + dstd * cache.x_hat / n + dmean / n
        return dx, *parts.parameters(dy, cache)


class MeanCutInVariance(Plain):
    """var = mean((x - stop(mean))^2): d(var)/dx = 2*(x - mean)/n with or without the stop."""

    @staticmethod
    def backward(dy: AnyArray, cache: Cache) -> GradientTuple:
        centred, n = cache.x - cache.mean, dy.size / dy.shape[1]
        dcentred = cache.gamma * dy * cache.inv_std
        dinv_std = (cache.gamma * dy * centred).sum(parts.AXES, keepdims=True)
        dvar = -0.5 * cache.inv_std**3 * dinv_std
        dx = dcentred - parts.mean_of(dcentred) + dvar * 2 * centred / n
        return dx, *parts.parameters(dy, cache)


class Unbiased(UnbiasedThenBiased):
    """The variance is divided by n - 1, in both passes."""

    @staticmethod
    def backward(dy: AnyArray, cache: Cache) -> GradientTuple:
        n = dy.size / dy.shape[1]
        v = parts.through_variance(dy, cache) * n / (n - 1)
        dx = parts.direct(dy, cache) + parts.through_mean(dy, cache) + v
        return dx, *parts.parameters(dy, cache)


class EpsOutside(EpsOutsideThenInside):
    """1/(sqrt(var) + eps) with the gradient that belongs to it."""

    @staticmethod
    def backward(dy: AnyArray, cache: Cache) -> GradientTuple:
        std = 1 / cache.inv_std - parts.EPS
        v = -(cache.x - cache.mean) / std * parts.along(dy, cache)
        dx = parts.direct(dy, cache) + parts.through_mean(dy, cache) + v
        return dx, *parts.parameters(dy, cache)


class Blend(RunningInTraining):
    """Running statistics, just updated, normalize in training, with the gradient of the blend."""

    @staticmethod
    def backward(dy: AnyArray, cache: Cache) -> GradientTuple:
        own = replace(cache, mean=parts.mean_of(cache.x))
        v = -(cache.x - own.mean) * cache.inv_std * parts.along(dy, cache)
        dx = parts.direct(dy, cache) + 0.1 * (parts.through_mean(dy, cache) + v)
        return dx, *parts.parameters(dy, cache)


class SmallGamma(Plain):
    """y is nearly beta, and depends on x all the same."""

    @staticmethod
    def forward(x: AnyArray, gamma: AnyArray, beta: AnyArray) -> tuple[AnyArray, Cache]:
        return Plain.forward(x, gamma / 100, beta)

    @staticmethod
    def backward(dy: AnyArray, cache: Cache) -> GradientTuple:
        dx, _, _ = Plain.backward(dy, cache)
        dgamma, dbeta = parts.parameters(dy, cache)
        return dx, dgamma / 100, dbeta

"""Statistics cut out of the gradient: the faults that this package is named for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from backnorm.audit.specimens import parts
from backnorm.audit.specimens.plain import Plain

if TYPE_CHECKING:
    from backnorm._types import AnyArray
    from backnorm.audit.specimens.parts import Cache, GradientTuple

__all__ = ["BothCut", "MeanCut", "MeanCutInSquare", "SquareCutOnly", "VarianceCut"]


class MeanCut(Plain):
    """The mean is taken for a constant."""

    @staticmethod
    def backward(dy: AnyArray, cache: Cache) -> GradientTuple:
        dx = parts.direct(dy, cache) + parts.through_variance(dy, cache)
        return dx, *parts.parameters(dy, cache)


class VarianceCut(Plain):
    """The variance is taken for a constant."""

    @staticmethod
    def backward(dy: AnyArray, cache: Cache) -> GradientTuple:
        dx = parts.direct(dy, cache) + parts.through_mean(dy, cache)
        return dx, *parts.parameters(dy, cache)


class BothCut(Plain):
    """Both statistics are taken for constants."""

    @staticmethod
    def backward(dy: AnyArray, cache: Cache) -> GradientTuple:
        return parts.direct(dy, cache), *parts.parameters(dy, cache)


class MeanCutInSquare:
    """var = E[x^2] - E[x]^2 with a constant mean everywhere: right where the mean is 0, nearly."""

    @staticmethod
    def forward(x: AnyArray, gamma: AnyArray, beta: AnyArray) -> tuple[AnyArray, Cache]:
        mean = parts.mean_of(x)
        inv_std = 1 / np.sqrt(parts.mean_of(x**2) - mean**2 + parts.EPS)
        return parts.normalize(x, gamma, beta, mean, inv_std)

    @staticmethod
    def backward(dy: AnyArray, cache: Cache) -> GradientTuple:
        through_square = -cache.x * cache.inv_std * parts.along(dy, cache)
        return parts.direct(dy, cache) + through_square, *parts.parameters(dy, cache)


class SquareCutOnly(MeanCutInSquare):
    """var = E[x^2] - E[x]^2 with a constant E[x]^2; the mean that is subtracted is not constant."""

    @staticmethod
    def backward(dy: AnyArray, cache: Cache) -> GradientTuple:
        dx, dgamma, dbeta = MeanCutInSquare.backward(dy, cache)
        return dx + parts.through_mean(dy, cache), dgamma, dbeta

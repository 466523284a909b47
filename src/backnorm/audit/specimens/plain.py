"""The plain pair, and a pair with frozen statistics; both gradients are right."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from backnorm.audit.specimens import parts

if TYPE_CHECKING:
    from backnorm._types import AnyArray
    from backnorm.audit.specimens.parts import Cache, GradientTuple

__all__ = ["Frozen", "Plain"]


class Plain:
    """Batch normalization in training, all three paths."""

    @staticmethod
    def forward(x: AnyArray, gamma: AnyArray, beta: AnyArray) -> tuple[AnyArray, Cache]:
        mean = parts.mean_of(x)
        inv_std = 1 / np.sqrt(parts.mean_of((x - mean) ** 2) + parts.EPS)
        return parts.normalize(x, gamma, beta, mean, inv_std)

    @staticmethod
    def backward(dy: AnyArray, cache: Cache) -> GradientTuple:
        d = parts.direct(dy, cache)
        dx = d + parts.through_mean(dy, cache) + parts.through_variance(dy, cache)
        return dx, *parts.parameters(dy, cache)


class Frozen:
    """Running statistics as constants, and the gradient for constants."""

    @staticmethod
    def forward(x: AnyArray, gamma: AnyArray, beta: AnyArray) -> tuple[AnyArray, Cache]:
        inv_std = 1 / np.sqrt(parts.RUNNING_VAR + parts.EPS)
        return parts.normalize(x, gamma, beta, parts.RUNNING_MEAN, inv_std)

    @staticmethod
    def backward(dy: AnyArray, cache: Cache) -> GradientTuple:
        return parts.direct(dy, cache), *parts.parameters(dy, cache)

"""Pairs with the right gradient that lose digits, and pairs that only seem to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from backnorm.audit.specimens import parts
from backnorm.audit.specimens.plain import Plain

if TYPE_CHECKING:
    from backnorm._types import AnyArray
    from backnorm.audit.specimens.parts import Cache, GradientTuple

__all__ = ["AllInHalf", "OnePass", "OnePassWide", "Scaled", "Shifted", "WideInHalf"]


def _normalized(
    x: AnyArray, gamma: AnyArray, beta: AnyArray, mean: AnyArray, var: AnyArray
) -> tuple[AnyArray, Cache]:
    return parts.normalize(x, gamma, beta, mean, 1 / np.sqrt(var + parts.EPS))


class OnePass(Plain):
    """var = E[x^2] - E[x]^2 in the dtype of x."""

    @staticmethod
    def forward(x: AnyArray, gamma: AnyArray, beta: AnyArray) -> tuple[AnyArray, Cache]:
        mean = parts.mean_of(x)
        return _normalized(x, gamma, beta, mean, parts.mean_of(x**2) - mean**2)


class OnePassWide:
    """The same in float64, which has enough digits where x is float32."""

    @staticmethod
    def forward(x: AnyArray, gamma: AnyArray, beta: AnyArray) -> tuple[AnyArray, Any]:
        # x itself is widened too: its mean does not fit into float32.
        y, cache = OnePass.forward(x.astype(np.float64), gamma, beta)
        return y.astype(x.dtype), cache

    @staticmethod
    def backward(dy: AnyArray, cache: Cache) -> GradientTuple:
        dx, dgamma, dbeta = Plain.backward(dy.astype(np.float64), cache)
        return dx.astype(dy.dtype), dgamma, dbeta


class Shifted(Plain):
    """E[d^2] - E[d]^2 with d = x - x[0], in the dtype of x, where no mean is large."""

    @staticmethod
    def forward(x: AnyArray, gamma: AnyArray, beta: AnyArray) -> tuple[AnyArray, Cache]:
        return OnePass.forward(x - x[:1, :, :1, :1], gamma, beta)


class Scaled:
    """x is divided by its largest value first, so that no square overflows."""

    @staticmethod
    def forward(x: AnyArray, gamma: AnyArray, beta: AnyArray) -> tuple[AnyArray, Any]:
        # A power of two, which rounds nothing; 1 for small x, beside which eps would overflow.
        size = np.exp2(np.ceil(np.log2(np.abs(x).max(parts.AXES, keepdims=True))))
        size = np.maximum(size, 1).astype(x.dtype)
        x = x / size
        mean = parts.mean_of(x)
        eps = parts.EPS / size / size
        inv_std = 1 / np.sqrt(parts.mean_of((x - mean) ** 2) + eps)
        y, cache = parts.normalize(x, gamma, beta, mean, inv_std)
        return y, (cache, size)

    @staticmethod
    def backward(dy: AnyArray, cache: Any) -> GradientTuple:
        inner, size = cache
        dx, dgamma, dbeta = Plain.backward(dy, inner)
        return dx / size, dgamma, dbeta


class AllInHalf(Plain):
    """Where x is float16, so are the squares and their sum, which overflows at 65504."""

    half_dtypes = ("float16",)


class WideInHalf:
    """x and dy are float16; all computation is in float32."""

    half_dtypes = ("float16",)

    @staticmethod
    def forward(x: AnyArray, gamma: AnyArray, beta: AnyArray) -> tuple[AnyArray, Any]:
        wide = np.promote_types(x.dtype, np.float32)
        y, cache = Plain.forward(x.astype(wide), gamma.astype(wide), beta.astype(wide))
        return y.astype(x.dtype), cache

    @staticmethod
    def backward(dy: AnyArray, cache: Cache) -> GradientTuple:
        dx, dgamma, dbeta = Plain.backward(dy.astype(cache.x.dtype), cache)
        return dx.astype(dy.dtype), dgamma, dbeta

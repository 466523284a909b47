"""What other laws make of the parts of many ranks, beside exact fractions; see `simulation`."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["by_chan", "by_torch", "errors_of", "exact"]


def exact(x: np.ndarray) -> list[tuple[Fraction, Fraction]]:
    """Return mean and variance of each channel as fractions."""
    found = []
    for channel in x.reshape(-1, x.shape[2]).T:
        # Every float32 is a multiple of 2^-149.
        integers = [int(value) for value in np.ldexp(channel.astype(np.float64), 149).tolist()]
        n, first = len(integers), sum(integers)
        second = sum(value * value for value in integers)
        unit = 1 << 149
        found.append(
            (Fraction(first, n * unit), Fraction(n * second - first * first, (n * unit) ** 2))
        )
    return found


def by_torch(x: np.ndarray, eps: float = 1e-5) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and variance by the law of torch.nn.SyncBatchNorm: float32, rank after rank."""
    f32 = np.float32
    k, means = f32(x.shape[1]), x.mean(1, dtype=f32)
    inverses = f32(1) / np.sqrt(((x - means[:, None]) ** 2).mean(1, dtype=f32) + f32(eps))
    mean, squares, n = np.zeros(x.shape[2], f32), np.zeros(x.shape[2], f32), f32(0)
    for own, inverse in zip(means, inverses, strict=True):
        of_rank = (f32(1) / inverse) ** 2 - f32(eps)
        factor = f32(1) / (n + k)
        squares = squares + of_rank * k + (mean - own) ** 2 * n * k * factor
        mean = n * factor * mean + k * factor * own
        n += k
    return mean, squares / n


def by_chan(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and variance by Chan's law: float64, rank after rank."""
    wide = x.astype(np.float64)
    k, means = x.shape[1], wide.mean(1)
    each = ((wide - means[:, None]) ** 2).sum(1)
    mean, squares, n = np.zeros(x.shape[2]), np.zeros(x.shape[2]), 0
    for own, of_rank in zip(means, each, strict=True):
        difference = own - mean
        mean = mean + difference * k / (n + k)
        squares = squares + of_rank + difference**2 * n * k / (n + k)
        n += k
    return mean, squares / n


def errors_of(
    law: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]],
    x: np.ndarray,
    right: list[tuple[Fraction, Fraction]],
) -> tuple[float, float]:
    """Return the largest error of the mean, over std, and that of the variance, as a share."""
    means, variances = law(x)
    off = [
        (
            abs(Fraction(float(m)) - mean) / Fraction(math.sqrt(var)),
            abs(Fraction(float(v)) / var - 1),
        )
        for m, v, (mean, var) in zip(means, variances, right, strict=True)
    ]
    of_mean, of_var = (max(each) for each in zip(*off, strict=True))
    return float(of_mean), float(of_var)

"""Pairs that begin as plain batch normalization, and normalize with other statistics later.

The shares of the paths through mean and variance must then be those in their output.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from backnorm.audit.specimens import parts

if TYPE_CHECKING:
    from backnorm._types import AnyArray
    from backnorm.audit.specimens.parts import GradientTuple

__all__ = ["Averaging", "Renorm"]


@dataclass(eq=False)
class Averaging:
    """Normalizes with running statistics that contain the batch.

    In the first call they are the batch's statistics, in later calls a tenth of them is.

    Attributes
    ----------
    passes
        Share of both paths in dx after the first call; None for the share that is in the output.
    """

    passes: float | None = None
    updates: int = 0
    running_mean: Any = 0.0
    running_var: Any = 1.0

    def forward(self, x: AnyArray, gamma: AnyArray, beta: AnyArray) -> tuple[AnyArray, Any]:
        """Return y and the cache."""
        new = 1.0 if self.updates == 0 else 0.1
        mean = parts.mean_of(x)
        var = x.var(parts.AXES, keepdims=True)
        self.running_mean = (1 - new) * self.running_mean + new * mean
        self.running_var = (1 - new) * self.running_var + new * var
        passed = new if self.passes is None or self.updates == 0 else self.passes
        self.updates += 1
        inv_std = 1 / np.sqrt(self.running_var + parts.EPS)
        y, cache = parts.normalize(x, gamma, beta, self.running_mean, inv_std)
        return y, (cache, passed)

    def backward(self, dy: AnyArray, cache: Any) -> GradientTuple:
        """Return dx, dgamma, dbeta."""
        saved, passed = cache
        moved = (saved.x - parts.mean_of(saved.x)) * saved.inv_std
        paths = parts.through_mean(dy, saved) - moved * parts.along(dy, saved)
        return parts.direct(dy, saved) + passed * paths, *parts.parameters(dy, saved)


@dataclass(eq=False)
class Renorm:
    """Batch renormalization: x_hat*r + d.

    Within limits r and d correct the batch's statistics to the running ones. In the first calls
    r = 1 and d = 0.

    Attributes
    ----------
    constant
        Whether the gradient takes r and d for constants, as the paper does.
    """

    constant: bool
    updates: int = 0
    running_mean: AnyArray | float = 0.0
    running_std: AnyArray | float = 1.0

    def forward(self, x: AnyArray, gamma: AnyArray, beta: AnyArray) -> tuple[AnyArray, Any]:
        """Return y and the cache."""
        mean = parts.mean_of(x)
        std = np.sqrt(x.var(parts.AXES, keepdims=True) + parts.EPS)
        most_r, most_d = (3.0, 5.0) if self.updates >= WARM_UP else (1.0, 0.0)
        free_r, free_d = std / self.running_std, (mean - self.running_mean) / self.running_std
        r, d = np.clip(free_r, 1 / most_r, most_r), np.clip(free_d, -most_d, most_d)
        y, cache = parts.normalize(x, gamma, beta, mean - d * std / r, r / std)
        # The share of each path in the output: 0 where r and d are not limited.
        m = 1 - (d == free_d) * std / (r * self.running_std)
        v = (r != free_r) * 1.0
        self.running_mean = self.running_mean + 0.1 * (mean - self.running_mean)
        self.running_std = self.running_std + 0.1 * (std - self.running_std)
        self.updates += 1
        return y, (replace(cache, mean=mean), m, v)

    def backward(self, dy: AnyArray, cache: Any) -> GradientTuple:
        """Return dx, dgamma, dbeta."""
        saved, m, v = cache
        std = np.sqrt(saved.x.var(parts.AXES, keepdims=True) + parts.EPS)
        x_hat = (saved.x - saved.mean) / std
        through_variance = -x_hat * parts.mean_of(parts.direct(dy, saved) * x_hat)
        if self.constant:
            m = v = 1.0
        dx = parts.direct(dy, saved) + m * parts.through_mean(dy, saved) + v * through_variance
        return dx, *parts.parameters(dy, saved)


WARM_UP = 10
"""Calls without a correction."""

"""NumPy pairs that keep running statistics by the laws of several frameworks."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from audit.pairs import AXES, Law

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass
class Keeping:
    """Right batch normalization; `update` changes what it keeps by mean, variance and n."""

    update: Callable[[Any, Any, Any, int], None]
    training: bool = True
    running_mean: Any = field(default_factory=lambda: np.array([0.5, -1.0, 2.0]))
    running_var: Any = field(default_factory=lambda: np.array([1.0, 0.5, 2.0]))

    def forward(self, x: Any, gamma: Any, beta: Any) -> tuple[Any, Any]:
        """Return y and the cache."""
        self.update(self, x.mean(AXES), x.var(AXES), x.size // x.shape[1])
        return Law().forward(x, gamma, beta)

    def backward(self, dy: Any, cache: Any) -> tuple[Any, Any, Any]:
        """Return dx, dgamma, dbeta."""
        return Law().backward(dy, cache)


@dataclass
class Hidden(Keeping):
    """The same with averages that start at 0, and their count."""

    count: int = 0
    hidden_mean: Any = field(default_factory=lambda: np.zeros(3))
    hidden_var: Any = field(default_factory=lambda: np.zeros(3))


def _average(keep: float, *, unbiased: bool = False, eps: float = 0.0) -> Any:
    def update(self: Any, mean: Any, var: Any, n: int) -> None:
        own = var * n / (n - 1) if unbiased else var
        self.running_mean = keep * self.running_mean + (1 - keep) * mean
        self.running_var = keep * self.running_var + (1 - keep) * (own + eps)

    return update


def keras_like(self: Any, mean: Any, var: Any, n: int) -> None:
    """0.99 of the old, and a biased variance."""
    _average(0.99)(self, mean, var, n)


def last_batch(self: Any, mean: Any, var: Any, n: int) -> None:
    """Nothing of the old, and an unbiased variance."""
    _average(0.0, unbiased=True)(self, mean, var, n)


def eps_inside(self: Any, mean: Any, var: Any, n: int) -> None:
    """eps is in the variance."""
    _average(0.9, eps=1e-3)(self, mean, var, n)


def small_weight(self: Any, mean: Any, var: Any, n: int) -> None:
    """A thousandth of the new, and an unbiased variance."""
    _average(0.999, unbiased=True)(self, mean, var, n)


def in_float32(self: Any, mean: Any, var: Any, n: int) -> None:
    """The same, rounded to float32."""
    small_weight(self, mean, var, n)
    self.running_mean = self.running_mean.astype(np.float32)
    self.running_var = self.running_var.astype(np.float32)


def debiased(self: Any, mean: Any, var: Any, n: int) -> None:  # noqa: ARG001
    """Averages from 0, divided by 1 - 0.9^k."""
    self.count += 1
    self.hidden_mean = 0.9 * self.hidden_mean + 0.1 * mean
    self.hidden_var = 0.9 * self.hidden_var + 0.1 * var
    self.running_mean = self.hidden_mean / (1 - 0.9**self.count)
    self.running_var = self.hidden_var / (1 - 0.9**self.count)


def without_law(self: Any, mean: Any, var: Any, n: int) -> None:
    """The largest so far."""
    self.running_mean = np.maximum(self.running_mean, mean)
    self.running_var = np.maximum(self.running_var, var * n)


def deviation(self: Any, mean: Any, var: Any, n: int) -> None:  # noqa: ARG001
    """The standard deviation is averaged."""
    self.running_mean = 0.9 * self.running_mean + 0.1 * mean
    self.running_var = 0.9 * self.running_var + 0.1 * np.sqrt(var)

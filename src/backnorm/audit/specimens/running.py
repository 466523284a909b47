"""Pairs that keep running statistics, correctly and incorrectly."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from backnorm.audit.specimens import parts
from backnorm.audit.specimens.plain import Plain

if TYPE_CHECKING:
    from backnorm._types import AnyArray
    from backnorm.audit.specimens.parts import Cache, GradientTuple

__all__ = ["RunningStatistics", "Sums"]


@dataclass(eq=False)
class RunningStatistics:
    """Batch normalization with running statistics, and options for the faults they may have.

    Attributes
    ----------
    training
        Whether it normalizes with the batch's statistics.
    momentum
        Weight of the new statistics.
    update
        Passes in which they change.
    times
        How often they change in such a pass.
    evaluates_with
        The running statistics, a copy made when it was constructed, the batch's statistics, or the
        running statistics with the variance times n/(n - 1) of the batch.
    frozen
        Whether it never trains.
    """

    training: bool = True
    momentum: float = 0.1
    update: tuple[Literal["forward", "backward", "evaluation"], ...] = ("forward",)
    times: int = 1
    evaluates_with: Literal["running", "copy", "batch", "corrected"] = "running"
    frozen: bool = False
    evaluations: int = 0
    running_mean: AnyArray = field(default_factory=parts.RUNNING_MEAN.copy)
    running_var: AnyArray = field(default_factory=parts.RUNNING_VAR.copy)
    last_dgamma: AnyArray = field(default_factory=lambda: np.zeros(3))

    def forward(self, x: AnyArray, gamma: AnyArray, beta: AnyArray) -> tuple[AnyArray, Any]:
        """Return y and the cache."""
        if self.training and not self.frozen:
            if "forward" in self.update:
                self._change(x)
            y, cache = Plain.forward(x, gamma, beta)
            return y, (cache, True)
        self.evaluations += 1
        y, cache = self._evaluate(x, gamma, beta)
        if "evaluation" in self.update:
            self._change(x)
        return y, (cache, self.evaluates_with == "batch")

    def backward(self, dy: AnyArray, cache: tuple[Cache, bool]) -> GradientTuple:
        """Return dx, dgamma, dbeta."""
        saved, of_batch = cache
        dx = parts.direct(dy, saved)
        if of_batch:
            dx = dx + parts.through_mean(dy, saved) + parts.through_variance(dy, saved)
            if "backward" in self.update:
                self._change(saved.x)
        dgamma, dbeta = parts.parameters(dy, saved)
        self.last_dgamma = dgamma
        return dx, dgamma, dbeta

    def _evaluate(self, x: AnyArray, gamma: AnyArray, beta: AnyArray) -> tuple[AnyArray, Cache]:
        if self.evaluates_with == "batch":
            return Plain.forward(x, gamma, beta)
        copied = self.evaluates_with == "copy"
        mean = parts.RUNNING_MEAN if copied else self.running_mean
        var = parts.RUNNING_VAR if copied else self.running_var
        if self.evaluates_with == "corrected":
            n = x.size / x.shape[1]
            var = var * n / (n - 1)
        with np.errstate(invalid="ignore"):
            inv_std = 1 / np.sqrt(var + parts.EPS)
        return parts.normalize(x, gamma, beta, mean, inv_std)

    def _change(self, x: AnyArray) -> None:
        for _ in range(self.times):
            old, new = 1 - self.momentum, self.momentum
            self.running_mean = old * self.running_mean + new * parts.mean_of(x)
            self.running_var = old * self.running_var + new * x.var(parts.AXES, keepdims=True)


@dataclass(eq=False)
class Sums:
    """Running statistics as Caffe keeps them: weighted sums, and their common divisor."""

    training: bool = True
    mean: AnyArray = field(default_factory=parts.RUNNING_MEAN.copy)
    variance: AnyArray = field(default_factory=parts.RUNNING_VAR.copy)
    scale_factor: float = 1.0

    def forward(self, x: AnyArray, gamma: AnyArray, beta: AnyArray) -> tuple[AnyArray, Any]:
        """Return y and the cache."""
        if not self.training:
            mean, var = self.mean / self.scale_factor, self.variance / self.scale_factor
            y, cache = parts.normalize(x, gamma, beta, mean, 1 / np.sqrt(var + parts.EPS))
            return y, (cache, False)
        self.mean = 0.999 * self.mean + parts.mean_of(x)
        self.variance = 0.999 * self.variance + x.var(parts.AXES, ddof=1, keepdims=True)
        self.scale_factor = 0.999 * self.scale_factor + 1
        y, cache = Plain.forward(x, gamma, beta)
        return y, (cache, True)

    def backward(self, dy: AnyArray, cache: tuple[Cache, bool]) -> GradientTuple:
        """Return dx, dgamma, dbeta."""
        saved, of_batch = cache
        if of_batch:
            return Plain.backward(dy, saved)
        return parts.direct(dy, saved), *parts.parameters(dy, saved)

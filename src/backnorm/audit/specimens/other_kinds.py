"""Layer, group, instance and rms normalization: one pair for all, with any of its paths cut."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from backnorm.audit.specimens import parts

if TYPE_CHECKING:
    from backnorm._types import AnyArray
    from backnorm.audit.kinds import Kind
    from backnorm.audit.specimens.parts import GradientTuple

__all__ = ["Over"]


@dataclass(frozen=True, slots=True)
class Over:
    """A pair for a kind of normalization other than batch.

    Attributes
    ----------
    kind
        Which values share their statistics.
    mean, variance
        Whether the gradient goes through them.
    gamma_in_dx
        Whether dx starts from gamma*dy.
    groups
        Number of groups of channels.
    """

    kind: Kind
    mean: bool = True
    variance: bool = True
    gamma_in_dx: bool = True
    groups: int = 0

    @property
    def has_beta(self) -> bool:
        """Whether there is a shift; rms has none."""
        return self.kind != "rms"

    def forward(
        self, x: AnyArray, gamma: AnyArray, beta: AnyArray | None
    ) -> tuple[AnyArray, dict[str, Any]]:
        """Return y and the cache."""
        rows = self._rows(x)
        mean = rows.mean(-1, keepdims=True) if self.kind != "rms" else 0.0
        centred = rows - mean
        inv_std = 1 / np.sqrt((centred**2).mean(-1, keepdims=True) + parts.EPS)
        x_hat = (centred * inv_std).reshape(x.shape)
        column = gamma.reshape((1, -1) + (1,) * (x.ndim - 2))
        shift = 0.0 if beta is None else beta.reshape(column.shape)
        return column * x_hat + shift, {"x_hat": x_hat, "inv_std": inv_std, "gamma": column}

    def backward(self, dy: AnyArray, cache: dict[str, Any]) -> GradientTuple:
        """Return dx, dgamma, dbeta."""
        x_hat = self._rows(cache["x_hat"])
        d = self._rows(cache["gamma"] * dy if self.gamma_in_dx else dy) * cache["inv_std"]
        dx = d.copy()
        if self.mean and self.kind != "rms":
            dx -= d.mean(-1, keepdims=True)
        if self.variance:
            dx -= x_hat * (d * x_hat).mean(-1, keepdims=True)
        shared = (0, *range(2, dy.ndim))
        dgamma, dbeta = (dy * cache["x_hat"]).sum(shared), dy.sum(shared)
        return dx.reshape(dy.shape), dgamma, dbeta if self.has_beta else None

    def _rows(self, x: AnyArray) -> AnyArray:
        """View x with the values that share their statistics along the last axis."""
        rows = {"layer": 1, "rms": 1, "instance": x.shape[1], "group": self.groups}[self.kind]
        return x.reshape(len(x), rows, -1)

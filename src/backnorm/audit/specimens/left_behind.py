"""Right gradients of pairs that overwrite, seed or keep what is not theirs, and of their twins."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from backnorm.audit.specimens import parts
from backnorm.audit.specimens.plain import Plain

if TYPE_CHECKING:
    from backnorm._types import AnyArray
    from backnorm.audit.specimens.parts import Cache, GradientTuple

__all__ = ["BatchKept", "Centring", "DyScaled", "ErrorsIgnored", "Keeping", "Sampling"]


@dataclass(frozen=True)
class Centring(Plain):
    """Subtracts the mean in place: from x, or from a copy of x."""

    from_copy: bool

    def forward(  # type: ignore[override]
        self, x: AnyArray, gamma: AnyArray, beta: AnyArray
    ) -> tuple[AnyArray, Cache]:
        """Return y and the cache."""
        centred = x.copy() if self.from_copy else x
        centred -= parts.mean_of(x)
        inv_std = 1 / np.sqrt(parts.mean_of(centred**2) + parts.EPS)
        return parts.normalize(centred.copy(), gamma, beta, np.zeros_like(inv_std), inv_std)


@dataclass(frozen=True)
class DyScaled(Plain):
    """Multiplies dy by gamma in place: dy, or a copy of dy."""

    from_copy: bool

    def backward(  # type: ignore[override]
        self, dy: AnyArray, cache: Cache
    ) -> GradientTuple:
        """Return dx, dgamma, dbeta."""
        dgamma, dbeta = parts.parameters(dy, cache)
        d = dy.copy() if self.from_copy else dy
        d *= cache.gamma * cache.inv_std
        along = parts.mean_of(d * cache.x_hat)
        return d - parts.mean_of(d) - cache.x_hat * along, dgamma, dbeta


@dataclass(eq=False)
class Sampling(Plain):
    """Takes its own variance from random positions too, for a report: by a seed of everyone."""

    own_generator: bool
    spread: float = 0.0

    def forward(  # type: ignore[override]
        self, x: AnyArray, gamma: AnyArray, beta: AnyArray
    ) -> tuple[AnyArray, Cache]:
        """Return y and the cache."""
        if self.own_generator:
            places = np.random.default_rng(0).integers(0, x.size, 4)
        else:
            np.random.seed(0)  # noqa: NPY002 - this is the fault
            places = np.random.randint(0, x.size, 4)  # noqa: NPY002
        self.spread = float(np.ptp(x.ravel()[places]))
        return Plain.forward(x, gamma, beta)


@dataclass(frozen=True)
class ErrorsIgnored(Plain):
    """Lets a division by zero pass: for good, or while it divides."""

    restored: bool

    def forward(  # type: ignore[override]
        self, x: AnyArray, gamma: AnyArray, beta: AnyArray
    ) -> tuple[AnyArray, Cache]:
        """Return y and the cache."""
        if self.restored:
            with np.errstate(divide="ignore"):
                return Plain.forward(x, gamma, beta)
        np.seterr(divide="ignore")
        return Plain.forward(x, gamma, beta)


@dataclass(eq=False)
class Keeping(Plain):
    """Keeps its cache: returns it as well, or reads what it kept."""

    returned: bool
    kept: list[Any] = field(default_factory=list)

    def forward(  # type: ignore[override]
        self, x: AnyArray, gamma: AnyArray, beta: AnyArray
    ) -> tuple[AnyArray, Any]:
        """Return y and the cache."""
        y, cache = Plain.forward(x, gamma, beta)
        self.kept = [cache]
        return y, cache if self.returned else None

    def backward(self, dy: AnyArray, cache: Any) -> GradientTuple:  # type: ignore[override]
        """Return dx, dgamma, dbeta."""
        return Plain.backward(dy, cache if self.returned else self.kept[0])


@dataclass(eq=False)
class BatchKept(Plain):
    """Reports how far a batch moved from the one before: of each sample, or of their mean."""

    each_sample: bool
    last: Any = None
    moved: Any = 0.0

    def forward(  # type: ignore[override]
        self, x: AnyArray, gamma: AnyArray, beta: AnyArray
    ) -> tuple[AnyArray, Cache]:
        """Return y and the cache."""
        kept = x.copy() if self.each_sample else x.mean(0)
        if self.last is not None:
            self.moved = float(np.abs(kept - self.last).max())
        self.last = kept
        return Plain.forward(x, gamma, beta)

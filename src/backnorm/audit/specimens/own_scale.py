"""Layer normalization of x over a multiple of its largest value: that changes nothing but eps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from backnorm.audit.specimens.other_kinds import Over

if TYPE_CHECKING:
    from backnorm._types import AnyArray
    from backnorm.audit.kinds import Kind
    from backnorm.audit.specimens.parts import GradientTuple

__all__ = ["LargestFirst"]

LAYER: Final = Over("layer")


@dataclass(frozen=True, slots=True)
class LargestFirst:
    """Divides each sample by its largest value, then normalizes it.

    Attributes
    ----------
    constant
        Whether the gradient takes the largest value for a constant.
    factor
        What the largest value is multiplied by: eps weighs as much as its square says.
    """

    constant: bool
    factor: float = 8.0
    kind: Kind = "layer"

    def forward(self, x: AnyArray, gamma: AnyArray, beta: AnyArray) -> tuple[AnyArray, Any]:
        """Return y and the cache."""
        rows = x.reshape(len(x), -1)
        place = np.abs(rows).argmax(1)
        largest = self.factor * rows[np.arange(len(x)), place].reshape(-1, *(1,) * (x.ndim - 1))
        scaled = x / np.abs(largest)
        y, cache = LAYER.forward(scaled, gamma, beta)
        return y, (scaled, largest, place, cache)

    def backward(self, dy: AnyArray, cache: Any) -> GradientTuple:
        """Return dx, dgamma, dbeta."""
        scaled, largest, place, inner = cache
        dscaled, dgamma, dbeta = LAYER.backward(dy, inner)
        dx = dscaled / np.abs(largest)
        if not self.constant:
            along = (dscaled * scaled).reshape(len(dy), -1).sum(1)
            dx.reshape(len(dy), -1)[np.arange(len(dy)), place] -= (
                self.factor * along / largest.ravel()
            )
        return dx, dgamma, dbeta

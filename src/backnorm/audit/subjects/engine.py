"""The engine of this package as NumPy pairs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from backnorm.ops import batch_norm, batch_norm_backward

if TYPE_CHECKING:
    from backnorm._types import AnyArray
    from backnorm.results import Forward

__all__ = ["ENGINE"]


@dataclass(slots=True)
class Engine:
    """`batch_norm` and its backward pass: in evaluation over constant statistics."""

    training: bool = True
    sample_shape = (3, 2, 2)

    def forward(
        self, x: AnyArray, gamma: AnyArray | None, beta: AnyArray | None
    ) -> tuple[AnyArray, Forward]:
        """Return y, and what the backward pass needs."""
        if self.training:
            found = batch_norm(x, gamma, beta)
        else:
            c = x.shape[1]
            mean, var = np.linspace(-1.0, 1.0, c), np.linspace(0.5, 2.0, c)
            found = batch_norm(x, gamma, beta, running_mean=mean, running_var=var)
        return found.y, found

    @staticmethod
    def backward(dy: AnyArray, cache: Forward) -> tuple[Any, Any, Any]:
        """Return dx, dgamma, dbeta."""
        found = batch_norm_backward(dy, cache)
        return found.dx, found.dgamma, found.dbeta


ENGINE: Final = {
    "backnorm.batch_norm": Engine(),
    "backnorm.batch_norm (frozen)": Engine(training=False),
}
"""Names and pairs."""

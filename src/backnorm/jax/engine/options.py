"""What a call of the primitives is, beside its arrays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from backnorm._types import Activation

__all__ = ["PrimitiveOptions"]


@dataclass(frozen=True, slots=True)
class PrimitiveOptions:
    """The parameter of each primitive: it can be hashed, so that JAX compiles each once.

    Attributes
    ----------
    axis
        The axis of the channels, counted from 0.
    eps, activation, negative_slope
        As in `batch_norm`.
    through_mean, through_variance
        Whether the gradient goes through this statistic of x; False where statistics are frozen.
    frozen
        Whether the statistics are operands.
    has_residual
        Whether the residual is an operand.
    exact
        Whether sums follow the exact law.
    """

    axis: int
    eps: float
    activation: Activation
    negative_slope: float
    through_mean: bool
    through_variance: bool
    frozen: bool
    has_residual: bool
    exact: bool

    @property
    def needs_output(self) -> bool:
        """Whether derivatives read the output, for the slope of the activation."""
        return self.activation != "identity"

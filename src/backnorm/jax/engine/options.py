"""What a call of the primitives is, beside its arrays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from backnorm._types import Activation
    from backnorm.jax.engine.parts import Parts

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
    counted
        Whether how many values of each channel count is an operand, as exact sums want it where the
        array is a part of the batch, or has positions that do not count.
    parts
        Where the other parts of such a batch are.
    shared
        Whether all these parts have the same parameters, whose gradients are then of all parts.
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
    counted: bool = False
    parts: Parts | None = None
    shared: bool = False

    @property
    def needs_output(self) -> bool:
        """Whether derivatives read the output, for the slope of the activation."""
        return self.activation != "identity"

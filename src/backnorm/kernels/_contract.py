"""What every kernel computes, and what it may assume.

All arrays are checked and arranged before a kernel is called:

- ``x``, ``y``, ``residual``, ``dy``, ``dx``, ``dresidual`` have shape (outer, C, inner) and one
  dtype; they are aligned; the innermost axis that is longer than 1 is contiguous; outer and
  channel strides are arbitrary.
- per-channel arrays are contiguous, aligned float64 of shape (C,).
- ``statistics`` is a C-contiguous float64 array of shape (4, C), rows as in `StatisticsRow`.
- outputs overlap neither inputs nor each other, nor themselves. Each channel has at least one
  value, unless the statistics are frozen. C may be 0.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

    from backnorm._types import Activation, AnyArray, Float64Array, Int64Array, SumLaw

__all__ = ["BackwardCall", "ForwardCall", "Kernel", "SecondCall", "TangentCall"]


class ForwardCall(NamedTuple):
    """Write y, and the statistics unless they are frozen.

    Frozen statistics are given with all four rows. law says how sums are taken, and with "exact"
    every bit of the results too (docs/numerics.md).

    The batch may be one part of a larger one. Then frozen statistics are those of total values a
    channel. With limbs, an array of `exact_limbs.for_moments`, the exact sums of x are written
    there and nothing else; y is not used. Limbs of float64 are for the NumPy kernel only. threads
    is how many a framework lends, 0 for none.
    """

    x: AnyArray
    y: AnyArray
    residual: AnyArray | None
    gamma: Float64Array | None
    beta: Float64Array | None
    statistics: Float64Array
    frozen: bool
    eps: float
    activation: Activation
    negative_slope: float
    law: SumLaw
    total: int = 0
    limbs: Int64Array | None = None
    threads: int = 0


class BackwardCall(NamedTuple):
    """Write dx, dresidual (unless None) and the sums: row 0 dgamma, row 1 dbeta, shape (2, C).

    y is needed for the activation's derivative only, and None for identity. With add_dx and
    add_dresidual the result is added to the values in the output.

    The batch may be one part of a larger one. With limbs, an array of `exact_limbs.for_comoments`,
    there are neither dx nor dresidual, and the exact sums are written there and nothing else. With
    measures the sums are given, those of total values a channel; measures are the sums of abs(dz).
    For float64 only the NumPy kernel takes given sums.
    """

    dy: AnyArray
    x: AnyArray
    y: AnyArray | None
    dx: AnyArray | None
    dresidual: AnyArray | None
    sums: Float64Array
    gamma: Float64Array | None
    statistics: Float64Array
    frozen: bool
    through_mean: bool
    through_variance: bool
    add_dx: bool
    add_dresidual: bool
    activation: Activation
    negative_slope: float
    law: SumLaw
    total: int = 0
    limbs: Int64Array | None = None
    measures: Float64Array | None = None
    threads: int = 0


class TangentCall(NamedTuple):
    """Write y_tangent from x_tangent, the parameters' tangents and the residual's."""

    x_tangent: AnyArray
    x: AnyArray
    y: AnyArray | None
    y_tangent: AnyArray
    residual_tangent: AnyArray | None
    gamma: Float64Array | None
    gamma_tangent: Float64Array | None
    beta_tangent: Float64Array | None
    statistics: Float64Array
    through_mean: bool
    through_variance: bool
    activation: Activation
    negative_slope: float


class SecondCall(NamedTuple):
    """Write x_out, dy_out and gamma_out, shape (C,), of the second derivative.

    ddx, ddgamma, ddbeta and ddresidual are the gradients with respect to dx, dgamma, dbeta and
    dresidual.
    """

    ddx: AnyArray | None
    ddgamma: Float64Array | None
    ddbeta: Float64Array | None
    ddresidual: AnyArray | None
    dy: AnyArray
    x: AnyArray
    y: AnyArray | None
    x_out: AnyArray
    dy_out: AnyArray
    gamma_out: Float64Array
    gamma: Float64Array | None
    statistics: Float64Array
    frozen: bool
    activation: Activation
    negative_slope: float


class Kernel(NamedTuple):
    """One implementation of the engine's four computations.

    Attributes
    ----------
    name
        Its name for `backnorm.kernels.get`.
    level
        The instruction set that it uses.
    """

    name: str
    level: str
    forward: Callable[[ForwardCall], None]
    backward: Callable[[BackwardCall], None]
    tangent: Callable[[TangentCall], None]
    second: Callable[[SecondCall], None]

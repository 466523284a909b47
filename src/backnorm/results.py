"""The small frozen dataclasses that functions return."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from backnorm._types import Activation, AnyArray, Float64Array

__all__ = ["Forward", "Gradients", "SecondGradients"]


class StatisticsRow:
    """The rows of a statistics array, which has shape (4, C).

    mean + mean_low is the mean to more than float64, so that x - mean is exact at any offset.
    """

    MEAN: Final = 0
    MEAN_LOW: Final = 1
    VAR: Final = 2
    INV_STD: Final = 3


class Saved(NamedTuple):
    """What the backward pass needs of the forward pass and users do not: kept beside `Forward`."""

    x: AnyArray
    gamma: AnyArray | None
    beta: AnyArray | None
    has_residual: bool
    statistics: Float64Array
    channel_axis: int
    eps: float
    frozen: bool
    activation: Activation
    negative_slope: float


@dataclass(frozen=True, slots=True, eq=False)
class Forward:
    """What `batch_norm` returns; pass it on to the backward functions.

    Attributes
    ----------
    y
        The output; shape and format of x. [gamma]
    n
        How many values each channel has.
    mean
        Mean of each channel; shape (C,), float64. [x]
    var
        Biased variance (divided by n) of each channel; shape (C,), float64. [x]^2
    inv_std
        1/sqrt(var + eps); shape (C,), float64. 1/[x]
    """

    y: AnyArray
    n: int
    saved: Saved = field(repr=False)

    @property
    def mean(self) -> Float64Array:
        """Mean of each channel."""
        return self._row(StatisticsRow.MEAN)

    @property
    def var(self) -> Float64Array:
        """Biased variance of each channel."""
        return self._row(StatisticsRow.VAR)

    @property
    def inv_std(self) -> Float64Array:
        """1/sqrt(var + eps) of each channel."""
        return self._row(StatisticsRow.INV_STD)

    def _row(self, index: int) -> Float64Array:
        row: Float64Array = self.saved.statistics[index]
        return row


@dataclass(frozen=True, slots=True, eq=False)
class Gradients:
    """Gradients of the loss, or buffers to write them to; None where there is none.

    Attributes
    ----------
    dx
        With respect to x; shape and format of x.
    dgamma
        With respect to gamma; shape (C,), format of gamma.
    dbeta
        With respect to beta; shape (C,), format of beta.
    dresidual
        With respect to the residual; shape and format of x.
    """

    dx: AnyArray | None = None
    dgamma: AnyArray | None = None
    dbeta: AnyArray | None = None
    dresidual: AnyArray | None = None


@dataclass(frozen=True, slots=True, eq=False)
class SecondGradients:
    """Gradients of a function of (dx, dgamma, dbeta) with respect to what those were made from.

    Attributes
    ----------
    x
        With respect to x; shape and format of x.
    dy
        With respect to dy; shape and format of x.
    gamma
        With respect to gamma; shape (C,), format of gamma; None without gamma.
    """

    x: AnyArray
    dy: AnyArray
    gamma: AnyArray | None

"""The results of the public functions: small frozen dataclasses."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

from backnorm._display import Displayed

if TYPE_CHECKING:
    from backnorm._types import Activation, AnyArray, Float64Array, SumLaw

__all__ = ["Forward", "Gradients", "SecondGradients"]


class StatisticsRow:
    """The rows of a statistics array, which has shape (4, C).

    mean + mean_low is the mean in twice the precision, so that x - mean is exact at any offset.
    """

    MEAN: Final = 0
    MEAN_LOW: Final = 1
    VAR: Final = 2
    INV_STD: Final = 3


class Saved(NamedTuple):
    """What the backward pass needs from the forward pass; private, in `Forward`."""

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
    sums: SumLaw


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Forward(Displayed):
    """The result of `batch_norm`; pass it to the backward functions.

    Attributes
    ----------
    y
        The output; shape and dtype of x. [gamma]
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


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class MaskedForward(Forward):
    """The result of `batch_norm` with a mask: n, mean and var are those of what counts.

    Attributes
    ----------
    mask
        A copy of the mask; bool, shape of x without its channels.
    gathered
        The result for the values that count, shape (n, C).
    """

    mask: AnyArray = field(repr=False)
    gathered: Forward = field(repr=False)


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class WeightedForward(MaskedForward):
    """The result of `batch_norm` with weights: mean and var are weighted.

    Attributes
    ----------
    n
        How many positions have a weight greater than 0; `mask` tells which.
    weights
        A copy of the weights; shape of x without its channels.
    unbiased_var
        Unbiased variance of each channel, for running statistics: var*k/(k - 1) with
        k = sum(w)^2/sum(w^2), as numpy.cov(aweights=w); shape (C,), float64. NaN if n is 1. [x]^2
    is_mask
        Whether statistics are those of a mask: the weights that count are equal, or the statistics
        are frozen.
    """

    weights: AnyArray = field(repr=False)
    unbiased_var: Float64Array = field(repr=False)
    is_mask: bool = field(repr=False)


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Gradients(Displayed):
    """Gradients of the loss, or buffers for them; None for a gradient that is not computed.

    Attributes
    ----------
    dx
        With respect to x; shape and dtype of x.
    dgamma
        With respect to gamma; shape (C,), dtype of gamma.
    dbeta
        With respect to beta; shape (C,), dtype of beta.
    dresidual
        With respect to the residual; shape and dtype of x.
    """

    dx: AnyArray | None = None
    dgamma: AnyArray | None = None
    dbeta: AnyArray | None = None
    dresidual: AnyArray | None = None


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class WeightedGradients(Gradients):
    """Gradients of the loss, and the one with respect to the weights.

    Attributes
    ----------
    dmask
        With respect to the weights; their shape and dtype. 0 where a weight is 0.
    """

    dmask: AnyArray | None = None


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class SecondGradients(Displayed):
    """Gradients of a function of (dx, dgamma, dbeta) with respect to the inputs of these.

    Attributes
    ----------
    x
        With respect to x; shape and dtype of x.
    dy
        With respect to dy; shape and dtype of x.
    gamma
        With respect to gamma; shape (C,), dtype of gamma; None without gamma.
    """

    x: AnyArray
    dy: AnyArray
    gamma: AnyArray | None


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class WeightedSecondGradients(SecondGradients):
    """Second derivatives, and the one with respect to the weights.

    Attributes
    ----------
    mask
        With respect to the weights; their shape and dtype. 0 where a weight is 0.
    """

    mask: AnyArray

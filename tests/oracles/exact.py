"""Batch normalization in exact arithmetic, with derivatives by dual numbers.

Fractions up to the square root, numbers of 60 digits behind it. The forward definition is written
down once, `_outputs`; first derivatives come from running it on dual numbers, second derivatives
from dual numbers of dual numbers. No formula for a gradient stands anywhere in this file, so that
agreement with one proves it. A statistic is cut out of the gradient by dropping its tangent, as a
program does that detaches it.

Arrays are NumPy arrays of a format that converts to float without loss; results are object arrays
of 60-digit numbers. Finite values only, and var + eps greater than 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any, TypeAlias

import mpmath
import numpy as np
import numpy.typing as npt

AnyArray: TypeAlias = npt.NDArray[Any]
Number: TypeAlias = Any
"""A Fraction, a number of 60 digits, or a Dual of them."""

MP = mpmath.MPContext()
MP.dps = 60

VARIANCES = ("centred", "raw", "mean cut inside")
"""How the variance is written: E[(x-mean)^2], E[x^2]-E[x]^2, E[(x-constant)^2]."""


class Dual:
    """A number value + tangent*e with e^2 = 0; both parts may be numbers or duals themselves."""

    def __init__(self, value: Number, tangent: Number) -> None:
        self.value = value
        self.tangent = tangent

    def __add__(self, other: Number) -> Dual:
        value, tangent = _split(other)
        return Dual(self.value + value, self.tangent + tangent)

    def __mul__(self, other: Number) -> Dual:
        value, tangent = _split(other)
        return Dual(self.value * value, self.value * tangent + self.tangent * value)

    __radd__ = __add__
    __rmul__ = __mul__

    def __sub__(self, other: Number) -> Dual:
        return self + other * -1


def _split(number: Number) -> tuple[Number, Number]:
    return (number.value, number.tangent) if isinstance(number, Dual) else (number, 0)


def _tangent(number: Number) -> Number:
    return _split(number)[1]


def _cut(number: Number) -> Number:
    """Drop every tangent: what detaching does."""
    while isinstance(number, Dual):
        number = number.value
    return number


def _average(numbers: list[Number]) -> Number:
    return sum(numbers) * Fraction(1, len(numbers))


def inverse_root(number: Number) -> Number:
    """1/sqrt, with its derivative -1/2*(1/sqrt)^3."""
    if isinstance(number, Dual):
        root = inverse_root(number.value)
        return Dual(root, root * root * root * number.tangent * Fraction(-1, 2))
    return 1 / MP.sqrt(number)


@dataclass(frozen=True)
class _Channel:
    """What one channel is normalized with."""

    gamma: Fraction
    beta: Fraction
    eps: Fraction
    frozen: tuple[Fraction, Fraction] | None
    through: str
    variance: str


@dataclass(frozen=True)
class Forward:
    """Output y (shape of x), mean, var, inv_std (shape (C,))."""

    y: AnyArray
    mean: AnyArray
    var: AnyArray
    inv_std: AnyArray


@dataclass(frozen=True)
class Gradients:
    """Gradients dx (shape of x), dgamma and dbeta (shape (C,))."""

    dx: AnyArray
    dgamma: AnyArray
    dbeta: AnyArray


@dataclass(frozen=True)
class SecondGradients:
    """By x and dy (shape of x) and by gamma (shape (C,))."""

    x: AnyArray
    dy: AnyArray
    gamma: AnyArray


def _statistics(x: list[Number], channel: _Channel) -> tuple[Number, Number]:
    if channel.frozen is not None:
        return channel.frozen
    mean = _average(x)
    if channel.through not in ("both", "mean"):
        mean = _cut(mean)
    if channel.variance == "raw":
        var = _average([value * value for value in x]) - mean * mean
    else:
        centre = _cut(mean) if channel.variance == "mean cut inside" else mean
        var = _average([(value - centre) * (value - centre) for value in x])
    return mean, var if channel.through in ("both", "variance") else _cut(var)


def _outputs(x: list[Number], gamma: Number, beta: Number, channel: _Channel) -> list[Number]:
    """The definition: y of one channel."""
    mean, var = _statistics(x, channel)
    inv_std = inverse_root(var + channel.eps)
    return [gamma * ((value - mean) * inv_std) + beta for value in x]


def _seeded(values: list[Number], at: int) -> list[Number]:
    return [Dual(value, int(index == at)) for index, value in enumerate(values)]


def _dot(weights: list[Number], values: list[Number]) -> Number:
    return sum(weight * value for weight, value in zip(weights, values, strict=True))


def _channel_gradient(
    dy: list[Number], x: list[Number], channel: _Channel
) -> tuple[list[Number], Number, Number]:
    """Differentiate sum(dy*y) of one channel by x, gamma and beta, one input at a time."""

    def derivative(x: list[Number], gamma: Number, beta: Number) -> Number:
        return _tangent(_dot(dy, _outputs(x, gamma, beta, channel)))

    gamma, beta = channel.gamma, channel.beta
    dx = [derivative(_seeded(x, at), gamma, beta) for at in range(len(x))]
    return dx, derivative(x, Dual(gamma, 1), beta), derivative(x, gamma, Dual(beta, 1))


def _channel_second(
    weights: tuple[list[Number], Number, Number],
    dy: list[Number],
    x: list[Number],
    channel: _Channel,
) -> tuple[list[Number], list[Number], Number]:
    """Differentiate the weighted gradients of one channel by x, dy and gamma.

    sum(ddx*dx) + ddgamma*dgamma + ddbeta*dbeta is the derivative of sum(dy*y) in the direction
    (ddx, ddgamma, ddbeta); a second seed takes its derivative once more.
    """
    ddx, ddgamma, ddbeta = weights

    def derivative(dy: list[Number], x: list[Number], gamma: Number) -> Number:
        moved_x = [Dual(value, weight) for value, weight in zip(x, ddx, strict=True)]
        y = _outputs(moved_x, Dual(gamma, ddgamma), Dual(channel.beta, ddbeta), channel)
        # dy has to be a dual as well: its own seed belongs inside, not beside the direction.
        return _tangent(_tangent(_dot([Dual(value, 0) for value in dy], y)))

    gamma, count = channel.gamma, range(len(x))
    return (
        [derivative(dy, _seeded(x, at), gamma) for at in count],
        [derivative(_seeded(dy, at), x, gamma) for at in count],
        derivative(dy, x, Dual(gamma, 1)),
    )


def _rows(array: AnyArray, channel_axis: int) -> list[list[Fraction]]:
    """One list of Fractions a channel."""
    rows = np.moveaxis(np.asarray(array), channel_axis, 0)
    return [[Fraction(float(value)) for value in row.ravel()] for row in rows]


def _values(array: AnyArray | None, c: int, default: int) -> list[Fraction]:
    if array is None:
        return [Fraction(default)] * c
    return [Fraction(float(value)) for value in array]


def _channels(
    c: int,
    gamma: AnyArray | None,
    beta: AnyArray | None,
    *,
    eps: float,
    running_mean: AnyArray | None,
    running_var: AnyArray | None,
    through: str = "both",
    variance: str = "centred",
) -> list[_Channel]:
    frozen = [None] * c
    if running_mean is not None:
        frozen = list(zip(_values(running_mean, c, 0), _values(running_var, c, 0), strict=True))
    affine = zip(_values(gamma, c, 1), _values(beta, c, 0), frozen, strict=True)
    return [_Channel(g, b, Fraction(eps), f, through, variance) for g, b, f in affine]


def _number(value: Number) -> Number:
    return MP.mpf(1) * value


def _vector(values: list[Number]) -> AnyArray:
    array = np.empty(len(values), dtype=object)
    array[:] = [_number(value) for value in values]
    return array


def _assemble(rows: list[list[Number]], shape: tuple[int, ...], channel_axis: int) -> AnyArray:
    """Put one list a channel back in an array of `shape`."""
    array = np.empty(shape, dtype=object)
    view = np.moveaxis(array, channel_axis, 0)
    view[...] = _vector([value for row in rows for value in row]).reshape(view.shape)
    return array


def forward(
    x: AnyArray,
    gamma: AnyArray | None = None,
    beta: AnyArray | None = None,
    *,
    channel_axis: int = 1,
    eps: float = 1e-5,
    running_mean: AnyArray | None = None,
    running_var: AnyArray | None = None,
) -> Forward:
    """Compute y and the statistics."""
    rows = _rows(x, channel_axis)
    channels = _channels(
        len(rows), gamma, beta, eps=eps, running_mean=running_mean, running_var=running_var
    )
    pairs = list(zip(rows, channels, strict=True))
    statistics = [_statistics(row, channel) for row, channel in pairs]
    y = [_outputs(row, channel.gamma, channel.beta, channel) for row, channel in pairs]
    return Forward(
        y=_assemble(y, np.shape(x), channel_axis),
        mean=_vector([mean for mean, _ in statistics]),
        var=_vector([var for _, var in statistics]),
        inv_std=_vector([inverse_root(var + Fraction(eps)) for _, var in statistics]),
    )


def backward(
    dy: AnyArray,
    x: AnyArray,
    gamma: AnyArray | None = None,
    *,
    channel_axis: int = 1,
    eps: float = 1e-5,
    through: str = "both",
    variance: str = "centred",
    running_mean: AnyArray | None = None,
    running_var: AnyArray | None = None,
) -> Gradients:
    """Differentiate sum(dy*y), with `variance` of VARIANCES, cutting what is not in `through`."""
    rows, dy_rows = _rows(x, channel_axis), _rows(dy, channel_axis)
    channels = _channels(
        len(rows),
        gamma,
        None,
        eps=eps,
        running_mean=running_mean,
        running_var=running_var,
        through=through,
        variance=variance,
    )
    each = list(map(_channel_gradient, dy_rows, rows, channels))
    return Gradients(
        dx=_assemble([dx for dx, _, _ in each], np.shape(x), channel_axis),
        dgamma=_vector([dgamma for _, dgamma, _ in each]),
        dbeta=_vector([dbeta for _, _, dbeta in each]),
    )


def jvp(
    x_tangent: AnyArray,
    x: AnyArray,
    gamma: AnyArray | None = None,
    *,
    gamma_tangent: AnyArray | None = None,
    beta_tangent: AnyArray | None = None,
    channel_axis: int = 1,
    eps: float = 1e-5,
    through: str = "both",
    running_mean: AnyArray | None = None,
    running_var: AnyArray | None = None,
) -> AnyArray:
    """Differentiate y in one direction."""
    rows, tangents = _rows(x, channel_axis), _rows(x_tangent, channel_axis)
    c = len(rows)
    channels = _channels(
        c,
        gamma,
        None,
        eps=eps,
        running_mean=running_mean,
        running_var=running_var,
        through=through,
    )
    gammas, betas = _values(gamma_tangent, c, 0), _values(beta_tangent, c, 0)
    result = []
    for row, tangent, channel, dgamma, dbeta in zip(
        rows, tangents, channels, gammas, betas, strict=True
    ):
        moved = [Dual(value, move) for value, move in zip(row, tangent, strict=True)]
        y = _outputs(moved, Dual(channel.gamma, dgamma), Dual(channel.beta, dbeta), channel)
        result.append([_tangent(value) for value in y])
    return _assemble(result, np.shape(x), channel_axis)


def double_backward(
    ddx: AnyArray | None,
    dy: AnyArray,
    x: AnyArray,
    gamma: AnyArray | None = None,
    *,
    ddgamma: AnyArray | None = None,
    ddbeta: AnyArray | None = None,
    channel_axis: int = 1,
    eps: float = 1e-5,
    running_mean: AnyArray | None = None,
    running_var: AnyArray | None = None,
) -> SecondGradients:
    """Differentiate sum(ddx*dx) + sum(ddgamma*dgamma) + sum(ddbeta*dbeta) by x, dy and gamma."""
    rows, dy_rows = _rows(x, channel_axis), _rows(dy, channel_axis)
    c = len(rows)
    ddx_rows = _rows(np.zeros(np.shape(x)) if ddx is None else ddx, channel_axis)
    weights = zip(ddx_rows, _values(ddgamma, c, 0), _values(ddbeta, c, 0), strict=True)
    channels = _channels(
        c, gamma, None, eps=eps, running_mean=running_mean, running_var=running_var
    )
    each = list(map(_channel_second, weights, dy_rows, rows, channels))
    return SecondGradients(
        x=_assemble([by_x for by_x, _, _ in each], np.shape(x), channel_axis),
        dy=_assemble([by_dy for _, by_dy, _ in each], np.shape(x), channel_axis),
        gamma=_vector([by_gamma for _, _, by_gamma in each]),
    )


def variance_gradient(x: list[float], *, variance: str = "centred") -> list[Fraction]:
    """Derivative of the variance of one list of numbers: Fractions, no rounding anywhere."""
    channel = _Channel(Fraction(1), Fraction(0), Fraction(0), None, "both", variance)
    values = [Fraction(float(value)) for value in x]
    return [_tangent(_statistics(_seeded(values, at), channel)[1]) for at in range(len(values))]

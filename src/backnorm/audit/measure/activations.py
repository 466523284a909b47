"""Activations: functions of each element that may follow a normalization, and their inverses."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt

    from backnorm._types import Float64Array
    from backnorm.audit.kinds import Geometry

    Function = Callable[[Float64Array], Float64Array]

__all__ = [
    "BENT",
    "GRID",
    "REACH",
    "ElementFunction",
    "bent",
    "clamped",
    "functions",
    "rising",
    "smooth",
]

REACH: Final = 8.0
"""Values of u that are inverted: beyond, the usual activations are straight or flat."""

GRID: Final = np.concatenate([[-1000.0], np.linspace(-20.0, 20.0, 801), [1000.0]])
"""Values of u at which f is looked at; the outermost tell its limits."""

STEEP: Final = 0.1
"""Smallest slope of f where u follows from y: the rounding of y grows tenfold at most."""

HALVINGS: Final = 46
"""Steps of the bisection: 16/2^46 is 2e-13."""

SLOPE_STEP: Final = 1e-6
"""Step of the slope of f, relative to 1 + |u|: rounding makes 1e-10 of it, the formula less."""

KINK_STEP: Final = 1e-4
"""Distance to a kink, relative to the size of u, below which rounding may decide on the slope."""

KINK_SLOPE: Final = 0.02
"""Change of the slope across a kink: relu6 has 1 and hardsigmoid 0.17; a smooth f changes by 1e-4
within the step."""

ERF_STEP: Final = 2.0**-8
ERF_END: Final = 6.0
"""Beyond it, erf is 1 in float64."""


@dataclass(frozen=True, slots=True, eq=False)
class ElementFunction:
    """An activation: y = f(u), element by element.

    Attributes
    ----------
    name
        Its name.
    function
        f, in float64.
    rising
        An interval of u in which y rises.
    geometry
        For a part of a layer: it is called in the shape of x, since it may have a parameter for
        each channel. None for a function, which takes any shape.
    """

    name: str
    function: Function
    rising: tuple[float, float] = (0.0, REACH)
    geometry: Geometry | None = None

    def __call__(self, u: Float64Array) -> Float64Array:
        """Return y of u, both as rows."""
        if self.geometry is None:
            return self.function(u)
        return self.geometry.rows(self.function(self.geometry.from_rows(u)))

    def slope(self, u: Float64Array) -> Float64Array:
        """Return dy/du, as rows."""
        step = SLOPE_STEP * (1 + np.abs(u))
        above, below = u + step, u - step
        return np.asarray((self(above) - self(below)) / (above - below))

    def inverse(self, y: Float64Array) -> Float64Array:
        """Return the u in the rising interval, and NaN where y has no such u."""
        low, high = (np.full(y.shape, end) for end in self.rising)
        inside = (y > self(low)) & (y < self(high))
        for _ in range(HALVINGS):
            middle = (low + high) / 2
            above = self(middle) < y
            low, high = np.where(above, middle, low), np.where(above, high, middle)
        return np.where(inside, (low + high) / 2, np.nan)


@functools.cache
def _erf_table() -> Float64Array:
    return np.array([math.erf(k * ERF_STEP) for k in range(round(ERF_END / ERF_STEP) + 1)])


def _erf(u: Float64Array) -> Float64Array:
    """Return erf, by four terms of its series around the nearest of a table of values."""
    size = np.minimum(np.abs(u), ERF_END)
    nearest = np.rint(size / ERF_STEP).astype(np.int64)
    at = nearest * ERF_STEP
    d = size - at
    slope = 2 / math.sqrt(math.pi) * np.exp(-(at**2))
    series = d * (1 + d * (-at + d * ((2 * at**2 - 1) / 3 + d * (at - 2 * at**3 / 3) / 2)))
    return np.asarray(np.sign(u) * (_erf_table()[nearest] + slope * series))


def _sigmoid(u: Float64Array) -> Float64Array:
    small = np.exp(-np.abs(u))
    return np.asarray(np.where(u < 0, small, 1.0) / (1 + small))


def _softplus(u: Float64Array) -> Float64Array:
    return np.asarray(np.logaddexp(0.0, u))


def _below(u: Float64Array) -> Float64Array:
    """Return u below 0, and 0 above."""
    return np.minimum(u, 0.0)


FUNCTIONS: Final[dict[str, Function]] = {
    "relu": lambda u: np.maximum(u, 0.0),
    "relu6": lambda u: np.clip(u, 0.0, 6.0),
    "silu": lambda u: u * _sigmoid(u),
    "gelu": lambda u: u * (1 + _erf(u / math.sqrt(2))) / 2,
    "gelu (tanh)": lambda u: u * _sigmoid(math.sqrt(8 / math.pi) * (u + 0.044715 * u**3)),
    "gelu (sigmoid)": lambda u: u * _sigmoid(1.702 * u),
    "hardswish": lambda u: u * np.clip(u + 3, 0.0, 6.0) / 6,
    "mish": lambda u: u * np.tanh(_softplus(u)),
    "selu": lambda u: (
        1.0507009873554805 * (np.maximum(u, 0) + 1.6732632423543772 * np.expm1(_below(u)))
    ),
    "softplus": _softplus,
    "tanh": np.tanh,
    "sigmoid": _sigmoid,
    "hardtanh": lambda u: np.clip(u, -1.0, 1.0),
    "hardsigmoid": lambda u: np.clip(u + 3, 0.0, 6.0) / 6,
    "logsigmoid": lambda u: -_softplus(-u),
    "softsign": lambda u: u / (1 + np.abs(u)),
    "squared relu": lambda u: np.maximum(u, 0.0) ** 2,
}
"""Activations without a parameter."""

BENT: Final[dict[str, Function]] = {"leaky_relu": _below, "elu": lambda u: np.expm1(_below(u))}
"""Activations that are u above 0, and below 0 a multiple of a function of u: that function."""


@functools.cache
def functions() -> tuple[ElementFunction, ...]:
    """Return the activations without a parameter."""
    return tuple(ElementFunction(name, f, rising(f)) for name, f in FUNCTIONS.items())


def bent(name: str, share: float) -> ElementFunction:
    """Return an activation of `BENT`, which is inverted above 0 only."""

    def function(u: Float64Array) -> Float64Array:
        return np.asarray(np.maximum(u, 0.0) + share * BENT[name](u))

    return ElementFunction(f"{name} ({share:.3g})", function)


def clamped(low: float | None, high: float | None, inside: tuple[float, float]) -> ElementFunction:
    """Return a clamp of u between two ends, of which one may be absent.

    Parameters
    ----------
    low, high
        The ends.
    inside
        An interval in which it is inverted.
    """
    ends = ", ".join("none" if end is None else f"{end:.3g}" for end in (low, high))

    def function(u: Float64Array) -> Float64Array:
        return np.asarray(np.clip(u, low, high))

    return ElementFunction(f"clamp ({ends})", function, inside)


def rising(function: Function) -> tuple[float, float]:
    """Return the longest interval in which f rises, and takes values that it has nowhere else.

    The interval is empty if none is found.
    """
    y = function(GRID)
    before, after = np.maximum.accumulate(y), np.minimum.accumulate(y[::-1])[::-1]
    rises = (np.diff(y) > STEEP * np.diff(GRID)) & (y[:-1] >= before[:-1]) & (y[1:] <= after[1:])
    rises &= (GRID[:-1] >= -REACH) & (GRID[1:] <= REACH)
    ends = np.flatnonzero(np.diff(np.concatenate([[0], rises.astype(int), [0]])))
    if not len(ends):
        return (0.0, 0.0)
    longest = 2 * int(np.argmax(ends[1::2] - ends[::2]))
    return float(GRID[ends[longest]]), float(GRID[ends[longest + 1]])


def smooth(activation: ElementFunction, u: Float64Array) -> npt.NDArray[np.bool_]:
    """Tell the elements whose slope rounding cannot change, as it may next to a kink."""
    step = KINK_STEP * float(np.sqrt(np.mean(u**2)))
    change = activation.slope(u + step) - activation.slope(u - step)
    return np.asarray(np.abs(change) < KINK_SLOPE)

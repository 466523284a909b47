"""The straight line from x to y in each row: the inv_std and the centre that a subject used."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from backnorm._types import AnyArray, Float64Array
    from backnorm.audit.measure.inputs import Draw

__all__ = ["GAMMA_LAWS", "Line", "fit_line"]

GAMMA_LAWS: Final[Mapping[str, Callable[[Float64Array], Float64Array]]] = {
    "gamma": lambda gamma: gamma,
    "1 + gamma": lambda gamma: 1.0 + gamma,
    "|gamma|": np.abs,
}
"""What layers multiply by; some count gamma from 0, some take its size only."""


@dataclass(frozen=True, slots=True, eq=False)
class Line:
    """y = gamma*(x - centre)*slope + beta, fitted to each row.

    Attributes
    ----------
    slope
        The subject's inv_std; shape (R, 1). 1/[x]
    centre
        What it subtracts from x; shape (R, 1). [x]
    gamma
        What it multiplies by; shape (R, n). [y]
    rest
        What the line leaves of y, relative to y's spread.
    reach
        Largest size of (y - beta)/gamma.
    """

    slope: Float64Array
    centre: Float64Array
    gamma: Float64Array
    rest: float
    reach: float

    @property
    def intercept(self) -> Float64Array:
        """(y - beta)/gamma at x = 0; shape (R, 1)."""
        return -self.slope * self.centre


def fit_line(draw: Draw, y: AnyArray, gamma_law: str = "gamma") -> Line:
    """Fit a straight line to each row by least squares.

    Parameters
    ----------
    draw
        What the subject was given.
    y
        What it returned.
    gamma_law
        Name of what it multiplies by.

    Returns
    -------
    Line
        The lines and how well they fit.
    """
    gamma = GAMMA_LAWS[gamma_law](draw.geometry.spread(draw.gamma, 1.0))
    beta = draw.geometry.spread(draw.beta, 0.0)
    x, y_rows = draw.geometry.rows(draw.x), draw.geometry.rows(y)
    u = _divide(y_rows - beta, gamma)
    dx, du = _centred(x), _centred(u)
    slope = _divide(np.sum(dx * du, axis=1, keepdims=True), np.sum(dx**2, axis=1, keepdims=True))
    left = gamma * (du - slope * dx)
    centre = x.mean(axis=1, keepdims=True) - _divide(u.mean(axis=1, keepdims=True), slope)
    return Line(slope, centre, gamma, _share(left, y_rows - beta), float(np.abs(u).max()))


def _centred(rows: Float64Array) -> Float64Array:
    return np.asarray(rows - rows.mean(axis=1, keepdims=True))


def _divide(a: Float64Array, b: Float64Array) -> Float64Array:
    """a/b, and 0 where b is 0: a subject may well return a constant."""
    return np.divide(a, b, out=np.zeros_like(a), where=b != 0)


def _share(left: Float64Array, whole: Float64Array) -> float:
    size = float(np.sqrt(np.mean(whole**2)))
    return float(np.sqrt(np.mean(left**2))) / size if size else 0.0

"""The row fit: a straight line from x to y in each row, which shows inv_std and centre.

For y = gamma*(x - centre)*inv_std + beta the slope of a row is the inv_std, and the x at which the
line is 0 is the centre, that a subject used there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import numpy.typing as npt

    from backnorm._types import AnyArray, Float64Array
    from backnorm.audit.measure.inputs import Inputs

__all__ = ["GAMMA_LAWS", "RowFit", "fit_between", "fit_rows"]

GAMMA_LAWS: Final[Mapping[str, Callable[[Float64Array], Float64Array]]] = {
    "gamma": lambda gamma: gamma,
    "1 + gamma": lambda gamma: 1.0 + gamma,
    "|gamma|": np.abs,
}
"""What layers multiply x_hat by: some store gamma - 1, some use the size of gamma only."""


@dataclass(frozen=True, slots=True, eq=False)
class RowFit:
    """The lines y = gamma*(x - centre)*slope + beta, one for each row.

    Attributes
    ----------
    slope
        The subject's inv_std; shape (R, 1). 1/[x]
    centre
        What the subject subtracts from x; shape (R, 1). [x]
    gamma
        What the subject multiplies by; shape (R, n). [y]
    residual
        What the lines leave of y - beta, relative to its size.
    reach
        Largest size of (y - beta)/gamma.
    u
        y, before the activation if there is such a function; shape (R, n). [y]
    known
        Which rows have a line; shape (R,). Rows that an activation cuts off have none, and the
        other attributes are 0 there.
    """

    slope: Float64Array
    centre: Float64Array
    gamma: Float64Array
    residual: float
    reach: float
    u: Float64Array
    known: npt.NDArray[np.bool_]

    @property
    def intercept(self) -> Float64Array:
        """(y - beta)/gamma at x = 0; shape (R, 1)."""
        return -self.slope * self.centre


def fit_rows(inputs: Inputs, y: AnyArray, gamma_law: str = "gamma") -> RowFit:
    """Fit a straight line to each row by least squares.

    Parameters
    ----------
    inputs
        What the subject received.
    y
        What it returned.
    gamma_law
        What it multiplies x_hat by: a name of `GAMMA_LAWS`.

    Returns
    -------
    RowFit
        The lines and their residual.
    """
    gamma = GAMMA_LAWS[gamma_law](inputs.geometry.spread(inputs.gamma, 1.0))
    beta = inputs.geometry.spread(inputs.beta, 0.0)
    return fit_between(inputs.geometry.rows(inputs.x), inputs.geometry.rows(y), gamma, beta)


def fit_between(
    x: Float64Array, y: Float64Array, gamma: Float64Array, beta: Float64Array
) -> RowFit:
    """Fit a straight line to each row; all have shape (R, n)."""
    # In a row gamma may differ from value to value, as in layer normalization: divide by it first.
    u = _divide(y - beta, gamma)
    dx, du = _centred(x), _centred(u)
    slope = _divide(np.sum(dx * du, axis=1, keepdims=True), np.sum(dx**2, axis=1, keepdims=True))
    left = gamma * (du - slope * dx)
    centre = x.mean(axis=1, keepdims=True) - _divide(u.mean(axis=1, keepdims=True), slope)
    known = np.ones(len(x), bool)
    reach = float(np.abs(u).max())
    return RowFit(slope, centre, gamma, _share(left, y - beta), reach, y, known)


def _centred(rows: Float64Array) -> Float64Array:
    return np.asarray(rows - rows.mean(axis=1, keepdims=True))


def _divide(a: Float64Array, b: Float64Array) -> Float64Array:
    """Return a/b, and 0 where b is 0: a subject may return a constant."""
    return np.divide(a, b, out=np.zeros_like(a), where=b != 0)


def _share(left: Float64Array, whole: Float64Array) -> float:
    size = float(np.sqrt(np.mean(whole**2)))
    return float(np.sqrt(np.mean(left**2))) / size if size else 0.0

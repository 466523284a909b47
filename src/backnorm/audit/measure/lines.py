"""The straight line from x to y in each row of a layer, before the activation that it may have.

A layer with an activation f returns y = f(u), where u is a straight line in x in each row. f is
found by trying: the elements where f rises give u, these give the line, and the line gives all y.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from backnorm.audit.measure.activations import BENT, bent, clamped, functions
from backnorm.audit.measure.row_fit import GAMMA_LAWS, RowFit, fit_rows
from backnorm.audit.thresholds import ROW_FIT_LIMIT

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import numpy.typing as npt

    from backnorm._types import Float64Array
    from backnorm.audit.measure.activations import ElementFunction
    from backnorm.audit.measure.inputs import Inputs

    Mask = npt.NDArray[np.bool_]

__all__ = ["Lines", "find_lines", "lines_through", "same_lines"]

SAMPLE: Final = 256
"""Elements of a row that the line is fitted to, evenly spaced."""

TRIED: Final = 16
"""Rows that an activation is recognized by: those that vary most."""

ENOUGH: Final = 3
"""Elements that make a line: two fit any line."""

AS_CLOSE: Final = 1e-6
"""Residuals below this are rounding: then the more usual activation is taken."""

SPREAD: Final = 0.05
"""Standard deviation of x among these elements, relative to all: closer ones magnify rounding."""


@dataclass(frozen=True, slots=True, eq=False)
class Lines:
    """The lines u = gamma*(x - centre)*slope + beta, and y = f(u).

    Attributes
    ----------
    law
        What x_hat is multiplied by: a name of `GAMMA_LAWS`.
    activation
        f; None if y is u.
    known
        Which rows have a line that depends on x, shape (R,): a row that is clipped altogether, or
        whose gamma is 0, has no such line. The other attributes mean nothing there.
    slope, centre
        Shape (R, 1). 1/[x], [x]
    gamma, u
        Shape (R, n). [y]
    residual
        What y differs from f(u), relative to its size.
    """

    law: str
    activation: ElementFunction | None
    known: Mask
    slope: Float64Array
    centre: Float64Array
    gamma: Float64Array
    u: Float64Array
    residual: float


@dataclass(frozen=True, slots=True, eq=False)
class _Rows:
    """What a layer received and returned, as rows of shape (R, n)."""

    x: Float64Array
    y: Float64Array
    gamma: Float64Array
    beta: Float64Array

    def at(self, rows: Any, columns: Any) -> _Rows:
        """Return some rows and columns."""
        values = (self.x, self.y, self.gamma, self.beta)
        return _Rows(*(v[rows][:, columns] for v in values))


def find_lines(
    inputs: Inputs, y: Float64Array, parts: Iterable[ElementFunction] = ()
) -> Iterator[Lines]:
    """Yield the lines that fit y: with the usual law of gamma first, without an activation first.

    Parameters
    ----------
    inputs
        What the layer received.
    y
        What it returned.
    parts
        Its parts that are tried as activations, beside the usual ones.

    Yields
    ------
    Lines
        Several if this x cannot tell activations from each other, as relu from relu6.
    """
    parts = tuple(parts)
    laws = GAMMA_LAWS if inputs.gamma is not None else ("gamma",)
    yield from (lines for law in laws if (lines := _plain(inputs, y, law)) is not None)
    for law in laws:
        rows = _rows_of(inputs, y, law)
        varied = np.argsort(-rows.y.std(axis=1), kind="stable")[:TRIED]
        some, fitting = rows.at(varied, _evenly(rows.x.shape[1])), []
        for activation in (*functions(), *_bent(some), *_clamped(some), *parts):
            # A part that needs the shape of x cannot be tried on some rows.
            tried = activation.geometry is not None or _undone(activation, some, law) is not None
            lines = _undone(activation, rows, law) if tried else None
            if lines is not None:
                fitting.append(lines)
        # Two forms of gelu both fit: the closer one has the right slope.
        yield from sorted(fitting, key=lambda lines: max(lines.residual, AS_CLOSE))


def same_lines(lines: Lines, inputs: Inputs, y: Float64Array) -> Lines | None:
    """Fit y of another x under the law and the activation of earlier lines; None if that fails."""
    if lines.activation is None:
        return _plain(inputs, y, lines.law)
    return _undone(lines.activation, _rows_of(inputs, y, lines.law), lines.law)


def lines_through(
    activation: ElementFunction,
    x: Float64Array,
    y: Float64Array,
    gamma: Float64Array,
    beta: Float64Array,
) -> RowFit:
    """Fit the lines before an activation.

    Where f of the lines misses y, the residual is 1. It is 0 where f cuts off all rows.
    """
    rows = _Rows(x, y, gamma, beta)
    lines = _undone(activation, rows, "gamma")
    if lines is None:
        nothing, known = np.zeros((len(x), 1)), np.zeros(len(x), bool)
        residual = float(_fitted(activation, rows)[2].any())
        return RowFit(nothing, nothing, gamma, residual, 0.0, np.zeros_like(x), known)
    known = lines.known
    slope, centre = (np.where(known[:, None], v, 0.0) for v in (lines.slope, lines.centre))
    reach = float(np.abs(slope * (x - centre)).max())
    return RowFit(slope, centre, gamma, lines.residual, reach, lines.u, known)


def _rows_of(inputs: Inputs, y: Float64Array, law: str) -> _Rows:
    where = inputs.geometry
    gamma = GAMMA_LAWS[law](where.spread(inputs.gamma, 1.0))
    return _Rows(where.rows(inputs.x), where.rows(y), gamma, where.spread(inputs.beta, 0.0))


def _plain(inputs: Inputs, y: Float64Array, law: str) -> Lines | None:
    """Fit lines to y itself; None if they miss it, or do not depend on x."""
    fit = fit_rows(inputs, y, law)
    known = (fit.slope[:, 0] != 0) & fit.gamma.any(axis=1)
    if fit.residual > ROW_FIT_LIMIT or not known.any():
        return None
    u = inputs.geometry.rows(y)
    return Lines(law, None, known, fit.slope, fit.centre, fit.gamma, u, fit.residual)


def _bent(rows: _Rows) -> Iterator[ElementFunction]:
    """Yield the activations whose parameter follows from the elements below 0."""
    slope, intercept, known = _fitted(bent("leaky_relu", 0.0), rows)
    u = rows.gamma * (slope * rows.x + intercept) + rows.beta
    below = known[:, None] & (u < 0)
    for name, shape in BENT.items():
        size = float(np.sum(shape(u[below]) ** 2))
        if size:
            yield bent(name, float(np.sum(shape(u[below]) * rows.y[below])) / size)


def _clamped(rows: _Rows) -> Iterator[ElementFunction]:
    """Yield a clamp where many elements of y have its smallest or its largest value."""
    least, most = (float(end) for end in (rows.y.min(), rows.y.max()))
    low, high = (
        end if np.count_nonzero(rows.y == end) >= ENOUGH else None for end in (least, most)
    )
    if least < most and (low, high) != (None, None):
        reach = most - least  # beyond an end that clips nothing y follows u
        yield clamped(low, high, (least - reach * (low is None), most + reach * (high is None)))


def _undone(activation: ElementFunction, rows: _Rows, law: str) -> Lines | None:
    """Fit lines to the elements where f rises; None if f of the lines misses y."""
    columns = slice(None) if activation.geometry else _evenly(rows.x.shape[1])
    slope, intercept, known = _fitted(activation, rows.at(slice(None), columns))
    if not known.any():
        return None
    u = np.where(known[:, None], rows.gamma * (slope * rows.x + intercept) + rows.beta, 0.0)
    left, size = (
        float(np.sqrt(np.mean(values[known] ** 2))) for values in (activation(u) - rows.y, rows.y)
    )
    if left > ROW_FIT_LIMIT * size:
        return None
    centre = -intercept / np.where(known[:, None], slope, 1.0)
    return Lines(law, activation, known, slope, centre, rows.gamma, u, left / size)


def _fitted(activation: ElementFunction, rows: _Rows) -> tuple[Float64Array, Float64Array, Mask]:
    """Return slope, intercept and known rows of the lines."""
    with np.errstate(divide="ignore", invalid="ignore"):
        v = (activation.inverse(rows.y) - rows.beta) / rows.gamma
    used = np.isfinite(v)
    x, v = rows.x, np.where(used, v, 0.0)
    count = used.sum(axis=1, keepdims=True)

    def mean(values: Float64Array) -> Float64Array:
        return np.asarray(np.sum(values * used, axis=1, keepdims=True) / np.maximum(count, 1))

    off_x, off_v = x - mean(x), v - mean(v)
    spread, whole = np.sqrt(mean(off_x**2)), x.std(axis=1, keepdims=True)
    known = (count >= ENOUGH) & (spread > SPREAD * whole) & (mean(off_x * off_v) != 0)
    slope = mean(off_x * off_v) / np.where(known, spread, 1.0) ** 2
    return slope, mean(v) - slope * mean(x), known[:, 0]


def _evenly(length: int) -> npt.NDArray[np.int64]:
    return np.unique(np.linspace(0, length - 1, SAMPLE).astype(np.int64))

"""A channel of a few values: the terms of its gradient, the slope, and what frameworks compute."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from backnorm import _check, reference
from backnorm.dialects import BatchNorm
from backnorm.errors import RangeError, ShapeError
from backnorm.results import Gradients

if TYPE_CHECKING:
    import numpy.typing as npt

    from backnorm._types import AnyArray, Float64Array, Through

__all__ = ["FrameworkForms", "SmallBatch", "forms", "held", "slope", "terms", "wrong_by"]

LARGEST: Final = 1e100
"""The largest value of x and dy: squares, sums and products of such values are finite."""

SMALLEST_VARIANCE: Final = float(np.finfo(np.float64).tiny)
"""Below it float64 loses digits, and then the number."""

STEP: Final = 1e-3
"""By how many standard deviations `slope` moves a value. The error of its formula is near
STEP^4 = 1e-12; rounding contributes 1e-16/STEP = 1e-13, and more if the mean is large."""


@dataclass(frozen=True, slots=True, eq=False)
class SmallBatch:
    """A batch, its statistics, and the terms of its gradient; gamma is 1 and beta 0.

    Attributes
    ----------
    x, dy, y
        Input, gradient that comes from the loss, and output; shape (n,).
    mean, var, inv_std, eps
        Statistics; var is divided by n.
    direct, through_mean, through_variance
        D, M and V of docs/mathematics.md, Eq. (8), (9) and (11); shape (n,).
    dx
        Their sum, Eq. (12); shape (n,).
    """

    x: Float64Array
    dy: Float64Array
    y: Float64Array
    mean: float
    var: float
    inv_std: float
    eps: float
    direct: Float64Array
    through_mean: Float64Array
    through_variance: Float64Array
    dx: Float64Array


@dataclass(frozen=True, slots=True, eq=False)
class FrameworkForms:
    """The gradient of a batch as Caffe and MXNet compute it; arrays have the shape (n,).

    Attributes
    ----------
    caffe
        Caffe's form, from the output: Eq. (14).
    mxnet
        MXNet's form, from the input: Eq. (15), with the request "write".
    mxnet_added
        What a buffer of ones holds after the request "add".
    null_leaves_out
        Whether the request "null" gives no dx.
    mxnet_global
        With use_global_stats, and the statistics of the batch as the stored statistics: Eq. (16).
    """

    caffe: Float64Array
    mxnet: Float64Array
    mxnet_added: Float64Array
    null_leaves_out: bool
    mxnet_global: Float64Array


def terms(x: npt.ArrayLike, dy: npt.ArrayLike, eps: float = 1e-5) -> SmallBatch:
    """Return a batch with all terms of its gradient.

    Parameters
    ----------
    x
        The values of a channel. [x]
    dy
        The gradient with respect to y, a number for each value. [loss]
    eps
        Added to the variance. [x]^2

    Raises
    ------
    ShapeError
        If x has no values, or dy another number of them.
    RangeError
        If a number is too large or not finite, or if eps is 0 and all values are equal, or so near
        to each other that their variance underflows.

    Examples
    --------
    >>> batch = terms([0.0, 0.0, 4.0, 4.0], [1.0, 0.0, 0.0, 3.0], eps=0.0)
    >>> batch.direct.tolist(), batch.through_mean.tolist()
    ([0.5, 0.0, 0.0, 1.5], [-0.5, -0.5, -0.5, -0.5])
    >>> batch.through_variance.tolist()
    [0.25, 0.25, -0.25, -0.25]
    >>> batch.dx.tolist()
    [0.25, -0.25, -0.75, 0.75]
    """
    column, dcolumn = _column("x", x), _column("dy", dy)
    if column.shape != dcolumn.shape:
        raise ShapeError.same_as("dy", dcolumn.shape[:1], "x", column.shape[:1])
    eps = _check.eps(eps)
    with np.errstate(divide="ignore", invalid="ignore"):  # of equal values, refused below
        fwd = reference.forward(column, eps=eps)
    if fwd.var[0] + eps < SMALLEST_VARIANCE:
        if np.ptp(column) == 0:
            raise RangeError.equal_values(len(column))
        raise RangeError.underflow()
    parts = reference.backward_parts(dcolumn, column, eps=eps)
    return SmallBatch(
        x=column[:, 0],
        dy=dcolumn[:, 0],
        y=fwd.y[:, 0],
        mean=float(fwd.mean[0]),
        var=float(fwd.var[0]),
        inv_std=float(fwd.inv_std[0]),
        eps=eps,
        direct=parts.direct[:, 0],
        through_mean=parts.mean[:, 0],
        through_variance=parts.variance[:, 0],
        dx=_values(reference.backward(dcolumn, column, eps=eps).dx),
    )


def _values(column: AnyArray | None) -> Float64Array:
    """Return the values of a channel; of a gradient that was requested."""
    assert column is not None  # noqa: S101 - only what is not requested is None
    return column[:, 0]


def _column(name: str, values: npt.ArrayLike) -> Float64Array:
    column: Float64Array = np.array(values, dtype=np.float64).reshape(-1, 1)
    if not column.size:
        raise ShapeError.empty(column.shape, 1)
    if not np.all(np.isfinite(column)):
        raise RangeError.not_finite(name, column[~np.isfinite(column)][0])
    if not np.all(np.abs(column) <= LARGEST):
        raise RangeError.not_below(name, LARGEST, column[~(np.abs(column) <= LARGEST)][0])
    return column


def slope(batch: SmallBatch) -> Float64Array:
    """Measure dx by finite differences: move a value, compute y anew, look at sum(dy*y).

    Returns
    -------
    numpy.ndarray
        (8 (L(h) - L(-h)) - (L(2h) - L(-2h)))/12h for each value; shape (n,).

    Examples
    --------
    >>> slope(terms([0.0, 0.0, 4.0, 4.0], [1.0, 0.0, 0.0, 3.0], eps=0.0)).round(9).tolist()
    [0.25, -0.25, -0.75, 0.75]
    """
    h = STEP / batch.inv_std

    def loss(index: int, by: float) -> float:
        moved = batch.x.copy()
        moved[index] += by
        return float(batch.dy @ reference.forward(moved[:, None], eps=batch.eps).y[:, 0])

    return np.array(
        [
            (8 * (loss(i, h) - loss(i, -h)) - (loss(i, 2 * h) - loss(i, -2 * h))) / (12 * h)
            for i in range(len(batch.x))
        ]
    )


def held(batch: SmallBatch) -> dict[str, Float64Array]:
    """Return what dx becomes if the mean, the variance, or both are held constant.

    Examples
    --------
    >>> batch = terms([0.0, 0.0, 4.0, 4.0], [1.0, 0.0, 0.0, 3.0], eps=0.0)
    >>> {name: wrong.tolist()[0] for name, wrong in held(batch).items()}
    {'mean': 0.75, 'variance': 0.0, 'both': 0.5}
    """
    left: dict[str, Through] = {"mean": "variance", "variance": "mean", "both": "none"}
    x, dy = batch.x[:, None], batch.dy[:, None]
    return {
        name: _values(reference.backward(dy, x, eps=batch.eps, through=through).dx)
        for name, through in left.items()
    }


def wrong_by(wrong: Float64Array, right: Float64Array) -> float:
    """Return the largest error relative to the largest right value; infinite if that is 0."""
    error, size = (float(np.abs(of).max()) for of in (wrong - right, right))
    if not size:
        return np.inf if error else 0.0
    return error / size


def forms(batch: SmallBatch) -> FrameworkForms:
    """Return the gradient of a batch as Caffe and MXNet compute it.

    Examples
    --------
    >>> batch = terms([0.0, 0.0, 4.0, 4.0], [1.0, 0.0, 0.0, 3.0], eps=0.0)
    >>> forms(batch).caffe.tolist(), forms(batch).mxnet_added.tolist()
    ([0.25, -0.25, -0.75, 0.75], [1.25, 0.75, 0.25, 1.75])
    """
    x, dy, y = (array[:, None] for array in (batch.x, batch.dy, batch.y))
    inv_std = np.array([batch.inv_std])
    layer = BatchNorm(1, dialect="mxnet", eps=batch.eps)
    layer.forward(x)
    frozen = BatchNorm(1, dialect="mxnet", eps=batch.eps, use_global_stats=True)
    stored = {"moving_mean": np.array([batch.mean]), "moving_var": np.array([batch.var])}
    frozen.load_state({**frozen.state(), **stored}).forward(x)
    added = np.ones_like(x)
    layer.backward(dy, dx="add", into=Gradients(dx=added))
    return FrameworkForms(
        _values(reference.backward_from_output(dy, y, inv_std)),
        _values(layer.backward(dy).dx),
        added[:, 0],
        layer.backward(dy, dx="null").dx is None,
        _values(frozen.backward(dy).dx),
    )

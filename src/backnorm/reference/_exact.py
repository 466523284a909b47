"""The law of exact sums: every bit of the results, in fractions and value by value.

The statistics are Eq. (1) and (2) of docs/mathematics.md and the sums Eq. (5), without a rounding
on the way. docs/numerics.md says in which order y and dx are computed from them.
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from backnorm.reference._channels import rows
from backnorm.results import Gradients

if TYPE_CHECKING:
    from backnorm._types import Activation, AnyArray, Float64Array, Through

__all__ = ["exact_backward", "exact_forward", "exact_statistics"]

# Digits and least exponent of the last one, and the largest number.
FORMATS = {
    "float16": (11, -24, 65504.0),
    "bfloat16": (8, -133, float(2.0**128 - 2.0**120)),
    "float32": (24, -149, float(2.0**128 - 2.0**104)),
    "float64": (53, -1074, float(np.finfo(np.float64).max)),
}


def exact_statistics(x: AnyArray, *, channel_axis: int = 1, eps: float = 1e-5) -> Float64Array:
    """Return mean, the mean's low part, biased variance and inv_std, each rounded once.

    Eq. (1), (2) and (3) of docs/mathematics.md. The low part is the mean less the mean rounded.

    Parameters
    ----------
    x
        Input; any number of axes, finite, float16, bfloat16, float32 or float64. [x]
    channel_axis
        The axis of x that holds the channels; all others are reduced.
    eps
        Added to the variance. [x]^2

    Returns
    -------
    numpy.ndarray
        float64, shape (4, C). [x], [x], [x]^2, 1/[x]

    Raises
    ------
    IndexError
        If x has no axis `channel_axis`; nothing else is checked.

    Notes
    -----
    Source: docs/numerics.md.

    Accuracy: half a unit of float64 (`tests/kernels/test_exact.py`); inv_std takes three roundings.

    Cost: microseconds for each value.

    Examples
    --------
    >>> import numpy as np
    >>> from backnorm import reference
    >>> reference.exact_statistics(np.array([[1.0], [3.0]], np.float32), eps=0.0).ravel().tolist()
    [2.0, 0.0, 1.0, 1.0]
    """
    return np.array([_statistics(_fractions(row), eps) for row in rows(x, channel_axis)]).T


def exact_forward(
    x: AnyArray,
    gamma: AnyArray | None = None,
    beta: AnyArray | None = None,
    *,
    channel_axis: int = 1,
    eps: float = 1e-5,
    activation: Activation = "identity",
    negative_slope: float = 0.01,
    residual: AnyArray | None = None,
) -> AnyArray:
    """Return y of the law of exact sums: act(fused(x - mean, scale, shift) + residual).

    Eq. (4) of docs/mathematics.md with a rounding after each operation; in float32 where the
    coefficients of a channel allow it, else in float64.

    Parameters
    ----------
    x
        Input; finite, float16, bfloat16 or float32. [x]
    gamma, beta
        Scale and shift; shape (C,); None stands for 1 and for 0. [y]
    channel_axis
        The axis of x that holds the channels.
    eps
        Added to the variance. [x]^2
    activation, negative_slope
        The function that is applied last, and the slope of leaky_relu below 0.
    residual
        Added before the activation; shape and dtype of x. [y]

    Returns
    -------
    numpy.ndarray
        y; shape and dtype of x. [y]

    Raises
    ------
    IndexError
        If x has no axis `channel_axis`; nothing else is checked.

    Notes
    -----
    Source: docs/numerics.md.

    Accuracy: every bit is that of the engine (`tests/kernels/test_exact.py`), but for the sign of
    0, which fractions do not have.

    Cost: many microseconds for each value.

    Examples
    --------
    >>> import numpy as np
    >>> from backnorm import reference
    >>> reference.exact_forward(np.array([[1.0], [3.0]], np.float32), eps=0.0).ravel().tolist()
    [-1.0, 1.0]
    """
    out = np.zeros(x.shape, x.dtype)
    into, values = (np.moveaxis(a, channel_axis, 0) for a in (out, x))
    added = None if residual is None else np.moveaxis(residual, channel_axis, 0)
    for c, row in enumerate(rows(x, channel_axis)):
        s = _statistics(_fractions(row), eps)
        scale, shift = _one(gamma, c, 1.0) * s.inv_std, _one(beta, c, 0.0)
        shift -= 0.0 if s.low == 0.0 else s.low * scale
        near = _single(s.mean)
        moved = shift if near == s.mean else shift + (near - s.mean) * scale
        fits = abs(s.mean) <= 2.0**100 and _in_range(scale) and _in_range(negative_slope)
        fits = fits and abs(moved) <= 2.0**125 and _small(scale, s.var * float(row.size))
        name = "float32" if fits else "float64"
        mean, shift = (near, moved) if fits else (s.mean, shift)
        m, a, b, slope = (nearest(Fraction(v), name) for v in (mean, scale, shift, negative_slope))
        for at in np.ndindex(values[c].shape):
            d = nearest(Fraction(float(values[c][at])) - m, name)
            z = nearest(d * a + b, name)
            if added is not None:
                z = nearest(z + Fraction(float(added[c][at])), name)
            if z < 0 and activation != "identity":
                z = nearest(z * slope, name) if activation == "leaky_relu" else Fraction(0)
            z = min(z, Fraction(6)) if activation == "relu6" else z
            into[c][at] = _stored(z, x.dtype)
    return out


def exact_backward(
    dz: AnyArray,
    x: AnyArray,
    gamma: AnyArray | None = None,
    *,
    channel_axis: int = 1,
    eps: float = 1e-5,
    through: Through = "both",
) -> Gradients:
    """Return dx, dgamma and dbeta of the law of exact sums, without an activation.

    Eq. (5) and (12) of docs/mathematics.md: dbeta = sum(dz), rounded once; dgamma is
    sum(dz*x) - sum(dz)*mean, rounded once, times inv_std.

    Parameters
    ----------
    dz
        Gradient with respect to y; shape of x, finite. [loss]/[y]
    x
        Input; finite, float16, bfloat16 or float32. [x]
    gamma
        Scale; shape (C,); None stands for 1. [y]
    channel_axis
        The axis of x that holds the channels.
    eps
        Added to the variance. [x]^2
    through
        Which statistics contribute to dx.

    Returns
    -------
    Gradients
        dx (shape and dtype of x), dgamma and dbeta (float64).

    Raises
    ------
    IndexError
        If x has no axis `channel_axis`; nothing else is checked.

    Notes
    -----
    Source: docs/numerics.md.

    Accuracy: every bit is that of the engine (`tests/kernels/test_exact.py`), but for the sign of
    0.

    Cost: many microseconds for each value.

    Examples
    --------
    >>> import numpy as np
    >>> from backnorm import reference
    >>> x, dz = np.array([[-1.0], [1.0]], np.float32), np.array([[1.0], [2.0]], np.float32)
    >>> g = reference.exact_backward(dz, x, eps=0.0)
    >>> g.dgamma.tolist(), g.dbeta.tolist(), g.dx.ravel().tolist()
    ([1.0], [3.0], [0.0, 0.0])
    """
    dx, sums = np.zeros(x.shape, x.dtype), np.zeros((2, x.shape[channel_axis]))
    into, values, arriving = (np.moveaxis(a, channel_axis, 0) for a in (dx, x, dz))
    pairs = zip(rows(x, channel_axis), rows(dz, channel_axis), strict=True)
    for c, (row, of_dz) in enumerate(pairs):
        f, g = _fractions(row), _fractions(of_dz)
        s, n = _statistics(f, eps), float(row.size)
        plain, size = sum(g, Fraction(0)), float(sum(map(abs, g), Fraction(0)))
        product = sum((a * b for a, b in zip(g, f, strict=True)), Fraction(0))
        centred = product - plain * (Fraction(s.mean) + Fraction(s.low))
        sums[:, c] = float(centred) * s.inv_std, float(plain)
        k = _coefficients(s, sums[:, c], n, _one(gamma, c, 1.0), through)
        fits = k.fits and abs(k.scale) * size <= 2.0**125
        fits = fits and (size == 0.0 or size >= n * 2.0**-118)
        fits = fits and 0.5 * size * size >= k.dbeta * k.dbeta + k.dgamma * k.dgamma
        name = "float32" if fits else "float64"
        near = _single(s.mean)
        b_single = -(k.b + (near - s.mean) * k.c) * k.scale
        chosen = (near, k.scale, b_single, -k.c * k.scale) if fits else (s.mean, k.scale, k.b, k.c)
        m, a, b, slope = (nearest(Fraction(v), name) for v in chosen)
        for at in np.ndindex(values[c].shape):
            v, d = Fraction(float(arriving[c][at])), Fraction(float(values[c][at]))
            d = nearest(d - m, name)
            if through == "none":
                result = nearest(v * a, name)
            elif fits:
                result = nearest(v * a + nearest(d * slope + b, name), name)
            else:
                both = nearest(v - b, name) - nearest(d * slope, name)
                result = nearest(nearest(both, name) * a, name)
            into[c][at] = _stored(result, x.dtype)
    return Gradients(dx, sums[0], sums[1])


class _Statistics(NamedTuple):
    mean: float
    low: float
    var: float
    inv_std: float


class _Coefficients(NamedTuple):
    scale: float
    b: float
    c: float
    dgamma: float
    dbeta: float
    fits: bool


def _statistics(values: list[Fraction], eps: float) -> _Statistics:
    n = len(values)
    mean = sum(values, Fraction(0)) / n
    var = sum((v * v for v in values), Fraction(0)) / n - mean * mean
    high, rounded = float(mean), float(var)
    return _Statistics(high, float(mean - Fraction(high)), rounded, 1.0 / math.sqrt(rounded + eps))


def _coefficients(
    s: _Statistics, sums: AnyArray, n: float, gamma: float, through: str
) -> _Coefficients:
    dgamma = float(sums[0]) if through in ("both", "variance") else 0.0
    dbeta = float(sums[1]) if through in ("both", "mean") else 0.0
    scale, c = gamma * s.inv_std, dgamma / n * s.inv_std
    b = dbeta / n - s.low * c
    fits = abs(s.mean) <= 2.0**100 and _in_range(scale) and _in_range(c * scale)
    fits = fits and abs(b * scale) <= 2.0**125 and _small(c * scale, s.var * n)
    return _Coefficients(scale, b, c, dgamma, dbeta, fits)


def nearest(value: Fraction, name: str) -> Fraction:
    """Return the number of a dtype that is nearest, that with an even last digit of two."""
    digits, least, largest = FORMATS[name]
    if value == 0:
        return value
    size = abs(value)
    exponent = size.numerator.bit_length() - size.denominator.bit_length()
    exponent -= size < Fraction(2) ** exponent
    unit = Fraction(2) ** max(exponent - digits + 1, least)
    rounded = round(value / unit) * unit
    if abs(rounded) > largest:
        message = f"{float(value)} exceeds {name}"
        raise OverflowError(message)
    return rounded


def _stored(value: Fraction, dtype: np.dtype[Any]) -> Any:
    name = dtype.name
    if dtype.itemsize == 2:  # noqa: PLR2004 - the 16-bit dtypes, by way of float32
        value = nearest(value, "float32")
    return float(nearest(value, name))


def _fractions(row: AnyArray) -> list[Fraction]:
    return [Fraction(float(v)) for v in row]


def _single(value: float) -> float:
    return float(nearest(Fraction(value), "float32"))


def _one(parameter: AnyArray | None, c: int, default: float) -> float:
    return default if parameter is None else float(parameter[c])


def _in_range(coefficient: float) -> bool:
    return coefficient == 0.0 or 2.0**-126 <= abs(coefficient) <= 2.0**126


def _small(factor: float, squares: float) -> bool:
    return factor == 0.0 or factor * factor * squares <= 2.0**250

"""Batch normalization with twice the digits of long double, for arrays up to about 1e5 values.

Every number is an unevaluated sum of two long doubles: 128 bits (38 digits) on x86, 106 bits (32
digits) where long double is float64. Additions and multiplications are within a few units of the
last of those bits, so that a cancellation of 1e12 (float32 or float64 data with mean/std of 1e6)
leaves more than long double's own digits. Results are rounded to long double once. The exponent is
that of long double: values of 1e30 are squared without overflow (1e150 where it is float64).

Finite values only, and var + eps greater than 0; long double must be a single binary format (not
PowerPC's). The formulas are the closed ones, proved against `exact`, which has none.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

AnyArray: TypeAlias = npt.NDArray[Any]
Operand: TypeAlias = "Pair | npt.ArrayLike"

_DIGITS = np.finfo(np.longdouble).nmant + 1
_SPLITTER = np.longdouble(2) ** ((_DIGITS + 1) // 2) + 1


def _two_sum(a: AnyArray, b: AnyArray) -> tuple[AnyArray, AnyArray]:
    """Add a and b, and find what rounding it lost (Knuth)."""
    total = a + b
    b_seen = total - a
    return total, (a - (total - b_seen)) + (b - b_seen)


def _halves(a: AnyArray) -> tuple[AnyArray, AnyArray]:
    """The upper and the lower half of the digits of a (Veltkamp)."""
    shifted = _SPLITTER * a
    upper = shifted - (shifted - a)
    return upper, a - upper


def _two_product(a: AnyArray, b: AnyArray) -> tuple[AnyArray, AnyArray]:
    """Multiply a and b, and find what rounding it lost (Dekker)."""
    product = a * b
    a_upper, a_lower = _halves(a)
    b_upper, b_lower = _halves(b)
    lost = (a_upper * b_upper - product) + a_upper * b_lower + a_lower * b_upper
    return product, lost + a_lower * b_lower


class Pair:
    """Arrays of high + low, where low is at most half a unit of the last place of high."""

    def __init__(self, high: npt.ArrayLike, low: npt.ArrayLike = 0) -> None:
        self.high, self.low = _two_sum(
            np.asarray(high, dtype=np.longdouble), np.asarray(low, dtype=np.longdouble)
        )

    def __add__(self, other: Operand) -> Pair:
        other = _pair(other)
        high, lost = _two_sum(self.high, other.high)
        low, lost_low = _two_sum(self.low, other.low)
        first = Pair(high, lost + low)
        return Pair(first.high, first.low + lost_low)

    def __neg__(self) -> Pair:
        return Pair(-self.high, -self.low)

    def __sub__(self, other: Operand) -> Pair:
        return self + -_pair(other)

    def __mul__(self, other: Operand) -> Pair:
        other = _pair(other)
        high, lost = _two_product(self.high, other.high)
        return Pair(high, lost + (self.high * other.low + self.low * other.high))

    def __truediv__(self, other: Operand) -> Pair:
        """Long division: three quotient digits, each a long double."""
        other = _pair(other)
        first = self.high / other.high
        rest = self - other * first
        second = rest.high / other.high
        rest = rest - other * second
        return Pair(first, second) + rest.high / other.high

    def sqrt(self) -> Pair:
        """One step of Newton's method from the long double root."""
        root = np.sqrt(self.high)
        return Pair(root) + (self - Pair(root) * root) / (2 * root)

    def sum(self) -> Pair:
        """Sum along the last axis, halving it again and again."""
        total = self
        while total.high.shape[-1] > 1:
            half = (total.high.shape[-1] + 1) // 2
            padding = [(0, 0)] * (total.high.ndim - 1) + [(0, 2 * half - total.high.shape[-1])]
            high, low = np.pad(total.high, padding), np.pad(total.low, padding)
            total = Pair(high[..., :half], low[..., :half]) + Pair(
                high[..., half:], low[..., half:]
            )
        return total


def _pair(values: Operand) -> Pair:
    return values if isinstance(values, Pair) else Pair(values)


@dataclass(frozen=True)
class Forward:
    """Output y and x_hat (shape of x), mean, var, inv_std (shape (C,)), long double."""

    y: AnyArray
    x_hat: AnyArray
    mean: AnyArray
    var: AnyArray
    inv_std: AnyArray


@dataclass(frozen=True)
class Gradients:
    """Gradients dx (shape of x), dgamma and dbeta (shape (C,)), long double."""

    dx: AnyArray
    dgamma: AnyArray
    dbeta: AnyArray


def _rows(array: AnyArray, channel_axis: int) -> Pair:
    """One row a channel, long double."""
    rows = np.moveaxis(np.asarray(array).astype(np.longdouble), channel_axis, 0)
    return Pair(rows.reshape(rows.shape[0], -1))


def _column(values: AnyArray) -> Pair:
    """One long double a channel, as a column."""
    return Pair(np.asarray(values).astype(np.longdouble)[:, np.newaxis])


def _back(rows: Pair, x: AnyArray, channel_axis: int) -> AnyArray:
    """Rows as an array of the shape of x, rounded to long double."""
    shape = np.moveaxis(np.asarray(x), channel_axis, 0).shape
    return np.moveaxis(rows.high.reshape(shape), 0, channel_axis)


def _normalized(
    x: AnyArray,
    channel_axis: int,
    eps: float,
    running_mean: AnyArray | None,
    running_var: AnyArray | None,
) -> tuple[Pair, Pair, Pair, Pair]:
    """Compute x_hat, mean, var and inv_std as pairs."""
    rows = _rows(x, channel_axis)
    n = rows.high.shape[1]
    frozen = running_mean is not None
    mean = _column(running_mean) if frozen else rows.sum() / n
    centred = rows - mean
    var = _column(running_var) if frozen else (centred * centred).sum() / n
    inv_std = Pair(1) / (var + np.longdouble(eps)).sqrt()
    return centred * inv_std, mean, var, inv_std


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
    """Compute y, x_hat and the statistics; both running_* given: frozen."""
    x_hat, mean, var, inv_std = _normalized(x, channel_axis, eps, running_mean, running_var)
    y = x_hat
    if gamma is not None:
        y = y * _column(gamma)
    if beta is not None:
        y = y + _column(beta)
    return Forward(
        y=_back(y, x, channel_axis),
        x_hat=_back(x_hat, x, channel_axis),
        mean=mean.high[:, 0],
        var=var.high[:, 0],
        inv_std=inv_std.high[:, 0],
    )


def backward(
    dy: AnyArray,
    x: AnyArray,
    gamma: AnyArray | None = None,
    *,
    channel_axis: int = 1,
    eps: float = 1e-5,
    through: str = "both",
    running_mean: AnyArray | None = None,
    running_var: AnyArray | None = None,
) -> Gradients:
    """Compute dx, dgamma and dbeta; `through` is "both", "mean", "variance" or "none"."""
    x_hat, _, _, inv_std = _normalized(x, channel_axis, eps, running_mean, running_var)
    dy_rows = _rows(dy, channel_axis)
    n = dy_rows.high.shape[1]
    d = dy_rows * (inv_std if gamma is None else inv_std * _column(gamma))
    dx = d
    if running_mean is None and through in ("both", "mean"):
        dx = dx - d.sum() / n
    if running_mean is None and through in ("both", "variance"):
        dx = dx - x_hat * ((d * x_hat).sum() / n)
    return Gradients(
        dx=_back(dx, x, channel_axis),
        dgamma=(dy_rows * x_hat).sum().high[:, 0],
        dbeta=dy_rows.sum().high[:, 0],
    )

"""The law of exact sums in NumPy: the same bits as every native kernel (docs/numerics.md).

Sums of float32 and narrower dtypes are integers, rounded once. Sums of float64 follow a fixed tree.
What is computed from the sums, and y and dx, takes fixed operations in float64 and in float32.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from backnorm.kernels._exact_results import Comoments, store_comoments, store_moments
from backnorm.kernels._fused import fused
from backnorm.kernels._integers import products, values, wide_products, wide_values
from backnorm.kernels._limbs import DOUBLE, scale_of, write_comoments, write_moments
from backnorm.kernels._tree import tree_sum
from backnorm.kernels.activations import ACTIVATIONS
from backnorm.results import StatisticsRow

if TYPE_CHECKING:
    from collections.abc import Callable

    from backnorm._types import AnyArray, Float64Array
    from backnorm.kernels._contract import BackwardCall, ForwardCall
    from backnorm.kernels._integers import IntegerSum

__all__ = ["backward_channels", "forward_channels"]

# The numbers of _native/precision.hpp: what float32 can hold without overflow, and where the parts
# of a gradient do not cancel.
LARGEST_MEAN: Final = 2.0**100
LARGEST: Final = 2.0**126
SMALLEST: Final = 2.0**-126
LEAST_SHARE: Final = 0.5
LEAST_MEAN_SIZE: Final = 2.0**-118


def forward_channels(call: ForwardCall, channels: slice) -> None:
    """Compute y and the statistics of some channels."""
    x = call.x[:, channels]
    if call.limbs is not None:
        add = _adder(call)
        given = x.astype(add.dtype)
        write_moments(add.values(given), add.products(given, given), call.limbs[channels])
        return
    if not call.frozen:
        store = _store_tree_statistics if x.dtype == np.float64 else _store_statistics
        store(x, call.statistics[:, channels], call.eps)
    k = _Normalize.of(call, channels)
    y = call.y[:, channels]
    residual = None if call.residual is None else call.residual[:, channels]
    for select, dtype in _by_dtype(x.dtype, k.fits):
        mean, scale, shift = (row[select, None].astype(dtype) for row in k.rows(dtype))
        z = fused(_in(x[:, select], dtype) - mean, scale, shift)
        if residual is not None:
            z += _in(residual[:, select], dtype)
        z = ACTIVATIONS[call.activation].apply(z, _slope(call, dtype))
        y[:, select] = _stored(z, y.dtype)


def _store_statistics(x: AnyArray, rows: Float64Array, eps: float) -> None:
    n = x.shape[0] * x.shape[2]
    single = x.astype(np.float32)
    sums = zip(values(single), products(single, single), strict=True)
    store_moments(sums, n, eps, rows)


def _store_tree_statistics(x: AnyArray, rows: Float64Array, eps: float) -> None:
    n = x.shape[0] * x.shape[2]
    reference = tree_sum(x) / n
    d = x - reference[:, None]
    first, second = tree_sum(d), tree_sum(d * d)
    offset = first / n
    mean = reference + offset
    back = mean - reference
    var = (second - first * offset) / n
    rows[StatisticsRow.MEAN] = mean
    rows[StatisticsRow.MEAN_LOW] = (reference - (mean - back)) + (offset - back)
    rows[StatisticsRow.VAR] = np.where(var < 0.0, 0.0, var)
    rows[StatisticsRow.INV_STD] = 1.0 / np.sqrt(rows[StatisticsRow.VAR] + eps)


class _Normalize(NamedTuple):
    """y = (x - mean)*scale + shift for each channel, and whether float32 is precise enough."""

    mean: Float64Array
    scale: Float64Array
    shift: Float64Array
    fits: AnyArray

    @classmethod
    def of(cls, call: ForwardCall, channels: slice) -> _Normalize:
        """Compute the coefficients as NormalizeChannel of _native/normalize.hpp does."""
        mean, low, var, inv_std = call.statistics[:, channels]
        scale = (1.0 if call.gamma is None else call.gamma[channels]) * inv_std
        moved = np.where(low == 0.0, 0.0, low * scale)
        shift = (0.0 if call.beta is None else call.beta[channels]) - moved
        n = float(call.total or call.x.shape[0] * call.x.shape[2])
        squares = 0.0 if call.frozen and not call.total else var * n
        k = cls(mean, scale, shift, np.zeros(mean.shape, bool))
        fits = (np.abs(mean) <= LARGEST_MEAN) & _in_range(scale)
        fits &= _in_range(np.asarray(call.negative_slope)) & _stays_small(scale, squares)
        fits &= np.abs(k.rows(np.dtype(np.float32))[2]) <= LARGEST / 2
        return k._replace(fits=fits)

    def rows(self, dtype: np.dtype[Any]) -> tuple[Float64Array, Float64Array, Float64Array]:
        """Return mean, scale and shift; for float32 what rounds off the mean is in the shift."""
        if dtype == np.float64:
            return self.mean, self.scale, self.shift
        mean = self.mean.astype(np.float32).astype(np.float64)
        moved = self.shift + (mean - self.mean) * self.scale
        return mean, self.scale, np.where(mean != self.mean, moved, self.shift)


def backward_channels(call: BackwardCall, channels: slice) -> None:
    """Compute dx, dresidual and the sums of some channels."""
    double = call.x.dtype == np.float64
    sums = call.sums[:, channels]
    if call.limbs is not None:
        write_comoments(_sides_sums(call, channels), call.limbs[channels])
        return
    if call.measures is not None:
        sizes = call.measures[channels]
    else:
        sizes = _tree_sums(call, channels) if double else _integer_sums(call, channels)
    _store_residual(call, channels)
    if call.dx is None:
        return
    k = _Gradient.of(call, channels, sums, sizes)
    dy, x, dx = call.dy[:, channels], call.x[:, channels], call.dx[:, channels]
    y = None if call.y is None else call.y[:, channels]
    through = call.through_mean or call.through_variance
    for select, dtype in _by_dtype(x.dtype, k.fits):
        mean, scale, b, c = (row[select, None].astype(dtype) for row in k.rows(dtype))
        dz = _in(dy[:, select], dtype)
        if y is not None:
            grad_through = ACTIVATIONS[call.activation].grad_through
            dz = grad_through(dz, y[:, select], _slope(call, dtype))
        if not through:
            d = dz * scale
        elif dtype == np.float64:
            d = ((dz - b) - (_in(x[:, select], dtype) - mean) * c) * scale
        else:
            d = fused(dz, scale, fused(_in(x[:, select], dtype) - mean, c, b))
        if call.add_dx:
            d = d + _in(dx[:, select], dtype)
        dx[:, select] = _stored(d, dx.dtype)


def _tree_sums(call: BackwardCall, channels: slice) -> Float64Array:
    dz = _grad_through(call, channels)
    mean, low, _, inv_std = call.statistics[:, channels]
    plain = tree_sum(dz)
    product = tree_sum(dz * (call.x[:, channels] - mean[:, None]))
    call.sums[0, channels] = (product - low * plain) * inv_std
    call.sums[1, channels] = plain
    return np.zeros_like(plain)


def _integer_sums(call: BackwardCall, channels: slice) -> Float64Array:
    """Store dgamma and dbeta; return the sum of abs(dz)."""
    rows = np.empty((3, call.sums[:, channels].shape[1]))
    store_comoments(
        _sides_sums(call, channels), call.statistics[:, channels], call.negative_slope, rows
    )
    call.sums[:, channels] = rows[:2]
    sizes: Float64Array = rows[2]
    return sizes


def _sides_sums(call: BackwardCall, channels: slice) -> list[Comoments]:
    """Return the sums of dz, abs(dz) and dz*x, for both sides of an activation with a slope."""
    dtype, values, products = _adder(call)
    outside, inside, above = _sides(call, channels, dtype)
    x = call.x[:, channels].astype(dtype)
    none = np.zeros((), dtype)
    # An infinite x counts on its own side only.
    below = x[:0] if above is None else np.where(above, none, x)
    x = x if above is None else np.where(above, x, none)
    return [
        Comoments(*sides)
        for sides in zip(
            zip(values(inside), values(outside), strict=True),
            zip(values(np.abs(inside)), values(np.abs(outside)), strict=True),
            zip(products(inside, x), products(outside, below), strict=True),
            strict=True,
        )
    ]


class _Adder(NamedTuple):
    """How values of a dtype and their products are added as integers."""

    dtype: Any
    values: Callable[[AnyArray], list[IntegerSum]]
    products: Callable[[AnyArray, AnyArray], list[IntegerSum]]


def _adder(call: ForwardCall | BackwardCall) -> _Adder:
    if call.limbs is not None and scale_of(call.limbs) is DOUBLE:
        return _Adder(np.float64, wide_values, wide_products)
    return _Adder(np.float32, values, products)


def _sides(
    call: BackwardCall, channels: slice, dtype: Any
) -> tuple[AnyArray, AnyArray, AnyArray | None]:
    """Return dy where the activation's slope is negative_slope, and where it is 1; else 0.

    The third result tells where the slope is 1; None if the activation has no slope.
    """
    dy = call.dy[:, channels].astype(dtype)
    none = np.zeros((0, *dy.shape[1:]), dtype)
    if call.y is None:
        return none, dy, None
    info, y = ACTIVATIONS[call.activation], call.y[:, channels]
    if not info.has_slope:
        dz = info.grad_through(dy.astype(np.float64), y, 0.0).astype(dtype)
        return none, dz, None
    inside, zero = y > 0, np.zeros((), dtype)
    return np.where(inside, zero, dy), np.where(inside, dy, zero), inside


class _Gradient(NamedTuple):
    """The coefficients of dx for each channel, and whether float32 is precise enough."""

    mean: Float64Array
    scale: Float64Array
    b: Float64Array
    c: Float64Array
    fits: AnyArray

    @classmethod
    def of(
        cls, call: BackwardCall, channels: slice, sums: Float64Array, size: Float64Array
    ) -> _Gradient:
        """Compute the coefficients as GradientChannel of _native/gradient.hpp does.

        size is the sum of abs(dz), of which size*size/n is a bound of the squares from below.
        """
        mean, low, var, inv_std = call.statistics[:, channels]
        n = float(call.total or call.x.shape[0] * call.x.shape[2])
        none = np.zeros_like(mean)
        dgamma = sums[0] if call.through_variance else none
        dbeta = sums[1] if call.through_mean else none
        scale = (1.0 if call.gamma is None else call.gamma[channels]) * inv_std
        c = dgamma / n * inv_std
        b = dbeta / n - low * c
        fits = (np.abs(mean) <= LARGEST_MEAN) & _in_range(scale) & _in_range(c * scale)
        fits &= _in_range(np.asarray(call.negative_slope))
        fits &= (np.abs(b * scale) <= LARGEST / 2) & _stays_small(c * scale, var * n)
        fits &= np.abs(scale) * size <= LARGEST / 2
        fits &= (size == 0.0) | (size >= n * LEAST_MEAN_SIZE)
        fits &= (1.0 - LEAST_SHARE) * size * size >= dbeta * dbeta + dgamma * dgamma
        return cls(mean, scale, b, c, fits)

    def rows(self, dtype: np.dtype[Any]) -> tuple[Float64Array, ...]:
        """Return mean, scale, b and c for results in this dtype."""
        if dtype == np.float64:
            return self.mean, self.scale, self.b, self.c
        mean = self.mean.astype(np.float32).astype(np.float64)
        b = -(self.b + (mean - self.mean) * self.c) * self.scale
        return mean, self.scale, b, -self.c * self.scale


def _store_residual(call: BackwardCall, channels: slice) -> None:
    if call.dresidual is None:
        return
    dz, out = _grad_through(call, channels), call.dresidual[:, channels]
    if call.add_dresidual:
        dz = dz + out.astype(np.float64)
    out[...] = _stored(dz, out.dtype)


def _grad_through(call: BackwardCall, channels: slice) -> Float64Array:
    """Return dz in float64."""
    dy = call.dy[:, channels].astype(np.float64)
    if call.y is None:
        return dy
    grad_through = ACTIVATIONS[call.activation].grad_through
    return grad_through(dy, call.y[:, channels], call.negative_slope)


def _by_dtype(dtype: np.dtype[Any], fits: AnyArray) -> list[tuple[AnyArray, np.dtype[Any]]]:
    """Return the channels computed in float32, and those in float64, with these dtypes."""
    if dtype == np.float64:
        return [(np.arange(fits.size), dtype)]
    groups = (
        (np.flatnonzero(fits), np.dtype(np.float32)),
        (np.flatnonzero(~fits), np.dtype(np.float64)),
    )
    return [(select, dtype) for select, dtype in groups if select.size]


def _in(array: AnyArray, dtype: np.dtype[Any]) -> AnyArray:
    return array.astype(dtype)


def _slope(call: ForwardCall | BackwardCall, dtype: np.dtype[Any]) -> Any:
    return dtype.type(call.negative_slope)


def _stored(result: AnyArray, dtype: np.dtype[Any]) -> AnyArray:
    """Round to the dtype of an output; to 16 bits by way of float32, as the native kernels do."""
    return result.astype(np.float32).astype(dtype) if dtype.itemsize == 2 else result.astype(dtype)  # noqa: PLR2004


def _in_range(coefficient: AnyArray) -> AnyArray:
    size = np.abs(coefficient)
    return np.asarray((size == 0.0) | ((size >= SMALLEST) & (size <= LARGEST)))


def _stays_small(factor: Float64Array, squares: AnyArray | float) -> AnyArray:
    most = LARGEST / 2
    return np.asarray((factor == 0.0) | (factor * factor * squares <= most * most))

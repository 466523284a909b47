"""Sums of several passes, which are kept as limbs and added until they are merged."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np
import pytest

from backnorm.kernels import exact_limbs, exact_windows
from backnorm.kernels._contract import ForwardCall
from backnorm.kernels.numpy_kernel import KERNEL

if TYPE_CHECKING:
    from backnorm._types import Float64Array, Int64Array

CHANNELS, PARTS = 3, 5


def parts(*, double: bool = False, last: float = 0.0) -> tuple[list[Float64Array], Int64Array]:
    """Some parts of a batch, and their limbs added up, each with more than 32 bits."""
    rng = np.random.default_rng(3)
    values = [-np.exp(rng.normal(0, 3, (1, CHANNELS, 7))) for _ in range(PARTS)]
    values = [v if double else v.astype(np.float32) for v in values]
    values[-1][0, 0, 0] += last
    total = exact_limbs.for_moments(CHANNELS, double=double)
    for x in values:
        limbs = np.zeros_like(total)
        call = ForwardCall(
            x=x,
            y=x,
            residual=None,
            gamma=None,
            beta=None,
            statistics=np.empty((4, CHANNELS)),
            frozen=False,
            eps=0.0,
            activation="identity",
            negative_slope=1.0,
            law="exact",
            limbs=limbs,
        )
        KERNEL.forward(call)
        total += limbs
    return [x.astype(np.float64) for x in values], total


def statistics(limbs: Int64Array) -> Float64Array:
    """Statistics of all values."""
    return exact_limbs.statistics_of(limbs, PARTS * 7, 1e-5)


def test_carried_limbs_have_32_bits() -> None:
    """All but the last one of a sum; the sums are the same."""
    _, total = parts()
    assert (total[:, :9] >= 1 << 32).any()
    carried = exact_limbs.carried(total)
    for begin, end in ((0, 9), (10, 28)):
        assert ((carried[:, begin:end] >= 0) & (carried[:, begin:end] < 1 << 32)).all()
    assert np.array_equal(statistics(carried), statistics(total))


def test_carried_limbs_fit_their_windows() -> None:
    """Windows are taken of 32 bits a limb; widened again, they are the same limbs."""
    carried = exact_limbs.carried(parts()[1])
    window = exact_windows.for_moments(statistics(carried), PARTS * 7)
    narrow = exact_windows.narrowed(carried, window)
    assert narrow is not None
    assert np.array_equal(exact_windows.widened(narrow, window, carried), carried)


@pytest.mark.parametrize("double", [False, True], ids=["float32", "float64"])
def test_the_limbs_of_float64_have_the_same_sums(*, double: bool) -> None:
    """Mean and variance of all parts are rounded once, from either of them."""
    values, total = parts(double=double)
    wide = total if double else exact_limbs.as_double(total)
    assert exact_limbs.are_double(wide)
    for c in range(CHANNELS):
        xs = [Fraction(v) for x in values for v in x[:, c].ravel().tolist()]
        mean = sum(xs) / len(xs)
        var = sum((x - mean) ** 2 for x in xs) / len(xs)
        assert statistics(wide)[0, c] == float(mean)
        assert statistics(wide)[2, c] == float(var)


@pytest.mark.parametrize("last", [np.inf, np.nan], ids=str)
def test_what_is_not_finite_stays(last: float) -> None:
    """In its channel, and in the limbs of float64."""
    _, total = parts(last=last)
    for limbs in (exact_limbs.carried(total), exact_limbs.as_double(total)):
        found = statistics(limbs)[0]
        assert np.isfinite(found[1:]).all()
        assert np.array_equal(found[:1], [last], equal_nan=True)

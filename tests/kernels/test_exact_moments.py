"""Exact sums for data in parts: the C++ part and NumPy take the same integers."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

import backnorm as bn
from backnorm.kernels import native_kernel
from backnorm.kernels.exact_moments import DENOMINATOR, exact_moments

pytestmark = pytest.mark.skipif(not native_kernel.levels(), reason="the C++ part is not built")

SHAPES = [(50, 3, 7), (1, 3, 70), (70, 3, 1), (4, 1100, 1), (3, 0, 2), (0, 3, 2), (2, 2, 40_000)]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_both_ways_take_the_same_sums(dtype: str, shape: tuple[int, int, int]) -> None:
    """With values that are not finite, and both zeros."""
    kind = pytest.importorskip("ml_dtypes").bfloat16 if dtype == "bfloat16" else dtype
    rng = np.random.default_rng(0)
    x = (rng.normal(size=shape) * np.exp(rng.normal(size=shape))).astype(kind)
    x.ravel()[: min(4, x.size)] = [0.0, -0.0, np.inf, np.nan][: min(4, x.size)]
    both = exact_moments(x), exact_moments(x, native=False)
    assert len(both[0]) == shape[1]
    assert repr(both[0]) == repr(both[1])  # of NaN, too


@pytest.mark.parametrize("native", [True, False])
def test_sums_are_those_of_fractions(native: bool) -> None:  # noqa: FBT001 - a parameter
    """Over all of float64's range, without overflow."""
    x = np.array([5e-324, -1e-310, 1.7e308, 1.7e308, -3.0, 0.1]).reshape(2, 1, 3)
    (got,) = exact_moments(x, native=native)
    numbers = [Fraction(v) for v in x.ravel().tolist()]
    assert Fraction(got.first, DENOMINATOR) == sum(numbers)
    assert Fraction(got.second, DENOMINATOR) == sum(v * v for v in numbers)


@pytest.mark.parametrize("shape", [(2, 2, 60_000), (60_000, 2, 1)])
def test_threads_do_not_change_the_sums(shape: tuple[int, int, int]) -> None:
    """The parts of threads are added as integers."""
    x = np.random.default_rng(1).normal(size=shape).astype(np.float32)
    before, made = bn.get_num_threads(), []
    try:
        for count in (1, 4):
            bn.set_num_threads(count)
            made.append(exact_moments(x))
    finally:
        bn.set_num_threads(before)
    assert made[0] == made[1] == exact_moments(x, native=False)

"""The oracles themselves: exact by hand, extended against exact, the assertion at its limit."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np
import pytest

from oracles import exact, extended
from oracles.small_cases import CASES, THROUGH
from oracles.tolerance import (
    EXTENDED_UNITS,
    LONG_DOUBLE_UNIT,
    assert_close,
    largest,
)

if TYPE_CHECKING:
    from types import ModuleType

    from backnorm._types import AnyArray
    from oracles.small_cases import Case

X = np.array([[0.0], [0.0], [4.0], [4.0]])
DY = np.array([[1.0], [0.0], [0.0], [3.0]])

BY_HAND = {
    "both": [0.5, -0.5, -1.5, 1.5],
    "mean": [0.0, -1.0, -1.0, 2.0],
    "variance": [1.5, 0.5, -0.5, 2.5],
    "none": [1.0, 0.0, 0.0, 3.0],
}
by_name = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


def float32_input(scale: float, offset: float) -> tuple[AnyArray, AnyArray]:
    """Float32 x with this std and mean, and float32 dy, two channels of 64 values."""
    rng = np.random.default_rng(7)
    x = (scale * (rng.standard_normal((64, 2)) + offset)).astype(np.float32)
    return x, rng.standard_normal((64, 2)).astype(np.float32)


HARD_INPUTS = {
    "mean/std of 1e6": float32_input(1.0, 1e6),
    "values of 1e30": float32_input(1e30, 1.0),
    "values of 1e-30": float32_input(1e-30, 1.0),
    "float64, mean/std of 1e6": tuple(each.astype(float) / 3 for each in float32_input(1.0, 1e6)),
}
by_input = pytest.mark.parametrize(("x", "dy"), HARD_INPUTS.values(), ids=HARD_INPUTS)


def assert_long_double_close(got: AnyArray, want: AnyArray) -> None:
    """Assert that only the last rounding, to long double, parts the two."""
    assert got.dtype == np.longdouble
    assert_close(got, want, units=EXTENDED_UNITS, unit=LONG_DOUBLE_UNIT)


@pytest.mark.parametrize("through", THROUGH)
@pytest.mark.parametrize("oracle", [exact, extended])
def test_oracle_gets_the_example_by_hand(oracle: ModuleType, through: str) -> None:
    """Both oracles give the gradient worked out by hand in docs/mathematics.md."""
    g = oracle.backward(DY, X, np.array([2.0]), eps=0.0, through=through)
    assert g.dx[:, 0].tolist() == BY_HAND[through]
    assert g.dgamma.tolist() == [2.0]
    assert g.dbeta.tolist() == [4.0]


def test_dual_of_dual_is_a_second_derivative() -> None:
    """1/sqrt(x) at 1/4 has first derivative -4 and second derivative 24."""
    x = exact.Dual(exact.Dual(Fraction(1, 4), 1), exact.Dual(1, 0))
    root = exact.inverse_root(x)
    assert root.value.value == 2
    assert root.tangent.value == -4
    assert root.tangent.tangent == 24


@by_name
def test_extended_forward_is_exact(case: Case) -> None:
    """The extended forward pass is exact arithmetic rounded to long double."""
    got = extended.forward(case.x, case.gamma, case.beta, **case.options)
    want = exact.forward(case.x, case.gamma, case.beta, **case.options)
    for name in ("y", "mean", "var", "inv_std"):
        assert_long_double_close(getattr(got, name), getattr(want, name))


@pytest.mark.parametrize("through", THROUGH)
@by_name
def test_extended_backward_is_exact(case: Case, through: str) -> None:
    """The extended gradient is exact arithmetic rounded to long double."""
    got = extended.backward(case.dy, case.x, case.gamma, through=through, **case.options)
    want = exact.backward(case.dy, case.x, case.gamma, through=through, **case.options)
    for name in ("dx", "dgamma", "dbeta"):
        assert_long_double_close(getattr(got, name), getattr(want, name))


@by_input
def test_extended_forward_holds_for_hard_input(x: AnyArray, dy: AnyArray) -> None:
    """Far from zero, very large or very small values cost the extended oracle nothing."""
    gamma, eps = dy[0], float(x[0, 0]) ** 2 * 1e-16
    got, want = extended.forward(x, gamma, eps=eps), exact.forward(x, gamma, eps=eps)
    for name in ("y", "mean", "var", "inv_std"):
        assert_long_double_close(getattr(got, name), getattr(want, name))


@by_input
def test_extended_backward_holds_for_hard_input(x: AnyArray, dy: AnyArray) -> None:
    """Far from zero, very large or very small values cost the extended gradient nothing."""
    eps = float(x[0, 0]) ** 2 * 1e-16
    got, want = extended.backward(dy, x, eps=eps), exact.backward(dy, x, eps=eps)
    for name in ("dx", "dgamma", "dbeta"):
        assert_long_double_close(getattr(got, name), getattr(want, name))


def test_extended_sum_loses_nothing() -> None:
    """A sum that float64 and long double lose is exact: 2^100 + 1 - 2^100 = 1."""
    big = np.longdouble(2.0**100)
    assert extended.Pair(np.array([big, 1.0, -big])).sum().high.tolist() == [1.0]


def test_assertion_fails_one_unit_too_far() -> None:
    """The assertion passes up to its limit, and fails beyond it, for NaN, and for a shape."""
    one = np.ones(3)
    assert_close(one + 2.0**-51, one, units=2)
    for wrong in (one + 2.0**-50 + 2.0**-51, np.array([1.0, np.nan, 1.0])):
        with pytest.raises(AssertionError, match="exceed"):
            assert_close(wrong, one, units=2)
    with pytest.raises(AssertionError, match="shape"):
        assert_close(one, np.ones(2))
    assert largest(np.array([-3.0, 2.0])) == 3

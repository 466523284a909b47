"""The error budget itself: what it lets pass, what it does not, and what it says."""

from __future__ import annotations

import numpy as np
import pytest

from backnorm.testing.budget import (
    EPS,
    SMALLEST,
    assert_bits,
    assert_like_framework,
    assert_within_budget,
    parts,
    units,
)
from backnorm.testing.cases import DTYPES, LAYOUTS, dtype_of, make
from backnorm.testing.strategies import condition

EXACT = np.array([[4.0, -1.0, 2.0], [0.5, 0.25, 0.0]])
"""Two channels, the largest values 4 and 0.5."""


def off(by: float, dtype: str = "float32") -> np.ndarray:
    """EXACT, the middle value of the second channel off by so many units."""
    got = EXACT.copy()
    got[1, 1] += by * EPS[dtype] * 0.5
    return got.astype(dtype_of(dtype))


@pytest.mark.parametrize("dtype", DTYPES)
def test_eps_and_smallest_are_those_of_the_format(dtype: str) -> None:
    """1 + eps is the next number after 1, the smallest the next after 0."""
    format_ = dtype_of(dtype)
    one = np.ones((), format_)
    after = (one.view(f"u{one.itemsize}") + np.array(1, f"u{one.itemsize}")).view(format_)
    assert float(after) == 1.0 + EPS[dtype]
    assert float(np.ones((), f"u{one.itemsize}").view(format_)) == SMALLEST[dtype]


def test_an_error_is_counted_in_units_of_its_channel() -> None:
    """eps times the channel's largest exact value, or the scale given."""
    assert units(off(3), EXACT).tolist() == [0.0, 3.0]
    assert units(off(3), EXACT, scale=[1.0, 1.0]).tolist() == [0.0, 1.5]
    assert units(off(3).T, EXACT.T, channel_axis=1).tolist() == [0.0, 3.0]


ALLOWED = {"float32": 2.0, "float64": 4.0}


@pytest.mark.parametrize("dtype", ALLOWED)
def test_the_last_unit_passes_and_the_next_does_not(dtype: str) -> None:
    """Where the exact values are numbers of the format, so that rounding costs nothing."""
    assert_within_budget(off(ALLOWED[dtype], dtype), EXACT)
    with pytest.raises(AssertionError, match=r"^channel 1, value 1: got 0\.25\d*, exact 0\.25: "):
        assert_within_budget(off(ALLOWED[dtype] + 1, dtype), EXACT)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_the_digits_have_to_be_right_to_the_last(dtype: str) -> None:
    """One unit off is too much, where the exact value could have been stored."""
    assert_within_budget(off(0, dtype), EXACT)
    with pytest.raises(AssertionError, match=r": 1 units, allowed \S+ \(\S+ more than float64 r"):
        assert_within_budget(off(1, dtype), EXACT)


def test_the_error_of_float64_arithmetic_is_allowed_as_well() -> None:
    """What it gives, rounded, may be off by itself."""
    assert_within_budget(off(7), EXACT, rounded=off(5))
    with pytest.raises(AssertionError, match=r"8 units, allowed 7 \(2 more than float64 rounded"):
        assert_within_budget(off(8), EXACT, rounded=off(5))


def test_plain_numpy_is_a_budget_of_its_own() -> None:
    """Twice its error and 4 units."""
    assert_within_budget(off(2), EXACT, plain=off(0))
    with pytest.raises(AssertionError, match=r"\(4 more than 2 times plain NumPy\)"):
        assert_within_budget(off(7), EXACT, rounded=off(9), plain=off(1))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_no_number_never_passes(value: float) -> None:
    """NaN is not taken for a small error, in got or in exact."""
    spoilt = EXACT.copy()
    spoilt[0, 2] = value
    with pytest.raises(AssertionError, match=r"^channel 0, value 2: "):
        assert_within_budget(spoilt.astype("f4"), EXACT)
    with pytest.raises(AssertionError, match=r"^channel 0, value "):
        assert_within_budget(EXACT.astype("f4"), spoilt)


def test_shapes_have_to_agree() -> None:
    """A result that would broadcast is a wrong result."""
    with pytest.raises(AssertionError, match=r"shape \(1, 3\), not \(2, 3\)"):
        assert_within_budget(EXACT[:1], EXACT)


def test_bits_tell_minus_zero_from_zero() -> None:
    """And name the first value that differs."""
    assert_bits(np.array([np.nan, -0.0]), np.array([np.nan, -0.0]))
    with pytest.raises(AssertionError, match=r"1 of 2 values differ, the first at \(1,\): got 0"):
        assert_bits(np.array([1.0, 0.0]), np.array([1.0, -0.0]))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_layout_changes_where_values_lie_and_nothing_else(layout: str) -> None:
    """Equal values, and but for the first a place in memory of their own kind."""
    batch = make((4, 3, 5, 6))
    placed = batch.laid_out(layout)
    assert_bits(placed.x, batch.x)
    plain = placed.x.flags.c_contiguous and placed.x.flags.aligned
    assert plain == (layout == "contiguous")


def test_condition_is_that_of_the_worst_channel() -> None:
    """sqrt(1 + mean^2/var)."""
    x = np.array([[1.0, 2.0], [-1.0, 4.0]])
    assert condition(x) == np.sqrt(1 + 9 / 1)


def test_parts_are_of_the_largest_value() -> None:
    """And NaN is no part of anything."""
    assert parts([1.0, 4.5], [1.0, 4.0]) == 0.125
    assert parts([0.5], [0.0]) == 0.5
    assert np.isnan(parts([np.nan], [1.0]))
    assert parts([], []) == 0.0


def like_framework(by: float, *, dtype: str = "float32", offset: bool = False) -> str:
    """Ours off by so much of the largest value, the framework by 1e-4 of it."""
    golden = np.array([1.0, 2.0], dtype)
    exact = np.array([1.0, 2.0002])
    ours = (golden + np.array([0.0, 2 * by])).astype(dtype)
    return assert_like_framework(ours, golden, exact, dtype=dtype, offset=offset, name="y")


def test_a_dialect_may_be_as_far_from_its_framework_as_that_is_from_exact() -> None:
    """Twice as far, and only where the input has an offset."""
    assert like_framework(3e-6).split() == ["y", "3.0e-06", "1.0e-04", "4.0e-06"]
    assert like_framework(1.9e-4, offset=True).split()[-1] == "2.0e-04"
    assert like_framework(9e-4, dtype="float16").split()[-1] == "2.0e-03"
    with pytest.raises(AssertionError, match=r"ours to golden, golden to exact, allowed: y  "):
        like_framework(5e-6)
    with pytest.raises(AssertionError, match=r"allowed: y .* 2\.1e-04   1\.0e-04   2\.0e-04"):
        like_framework(2.1e-4, offset=True)
    with pytest.raises(AssertionError, match=r"allowed: y"):
        like_framework(3e-3, dtype="float16")
    with pytest.raises(AssertionError, match=r"allowed: y +nan"):
        like_framework(np.nan)


def test_a_dialect_has_its_frameworks_shape_and_format() -> None:
    """A broadcast or a conversion is no agreement."""
    one = np.ones(2, "f4")
    with pytest.raises(AssertionError, match=r"y: shape \(1,\), not \(2,\)"):
        assert_like_framework(one[:1], one, one, dtype="float32", offset=False, name="y")
    wide = one.astype("f8")
    with pytest.raises(AssertionError, match="y: float64, not float32"):
        assert_like_framework(wide, one, one, dtype="float32", offset=False, name="y")

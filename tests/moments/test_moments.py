"""Moments of data in parts: correctly rounded, and the same bits however the data were cut."""

from __future__ import annotations

import math
import pickle
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import backnorm as bn

if TYPE_CHECKING:
    from backnorm._types import AnyArray

DTYPES = ("float16", "bfloat16", "float32", "float64")


def array(values: object, dtype: str) -> AnyArray:
    """An array of a dtype; bfloat16 is that of ml_dtypes."""
    if dtype == "bfloat16":
        return np.asarray(values, np.float32).astype(pytest.importorskip("ml_dtypes").bfloat16)
    return np.asarray(values).astype(dtype)


def moments(*parts: AnyArray, **options: Any) -> bn.Moments:
    """The moments of some arrays, one after the other."""
    made = bn.Moments()
    for part in parts:
        made.update(part, **options)
    return made


def nearest(value: Fraction) -> float:
    """The nearest float64."""
    try:
        return value.numerator / value.denominator
    except OverflowError:
        return math.inf


def exact(values: AnyArray) -> tuple[float, float, float]:
    """Mean, variance and unbiased variance of some values, by fractions."""
    numbers = [Fraction(float(v)) for v in values.ravel()]
    n, mean = len(numbers), sum(numbers, Fraction(0)) / len(numbers)
    square = sum(((v - mean) ** 2 for v in numbers), Fraction(0))
    return nearest(mean), nearest(square / n), nearest(square / (n - 1))


def spread(dtype: str) -> AnyArray:
    """Values of shape (30, 4, 5) over most of a dtype's range, with the extremes."""
    rng = np.random.default_rng(1)
    far = {"float16": 3, "bfloat16": 30, "float32": 30, "float64": 200}[dtype]
    x = rng.normal(size=(30, 4, 5)) * np.exp(rng.uniform(-far, far, size=(30, 4, 5)))
    x[:, 0] = rng.normal(1e4, 1, size=(30, 5))
    x[:, 1] = 3.0
    if dtype != "float16":
        smallest = {"bfloat16": 1e-40, "float32": 1e-45, "float64": 5e-324}[dtype]
        x[:3, 2, 0] = smallest, -smallest, 3e38 if dtype != "float64" else 1.7e308
    return array(x, dtype)


@pytest.mark.parametrize("dtype", DTYPES)
def test_results_are_rounded_once(dtype: str) -> None:
    """Mean and both variances are the float64 nearest to the fractions."""
    x = spread(dtype)
    got = moments(x)
    want = np.array([exact(x[:, c]) for c in range(4)]).T
    assert got.n == 150
    assert got.channels == 4
    assert [a.tolist() for a in (got.mean, got.var, got.unbiased_var)] == want.tolist()


@pytest.mark.parametrize("dtype", DTYPES)
@given(st.lists(st.integers(0, 30), max_size=4), st.randoms(use_true_random=False), st.booleans())
def test_no_bit_depends_on_cuts_and_order(
    dtype: str,
    cuts: list[int],
    random: Any,
    last: bool,  # noqa: FBT001 - drawn
) -> None:
    """Whatever the parts, their order, the order of samples and the layout."""
    x = spread(dtype)
    order = list(range(30))
    random.shuffle(order)
    moved = np.ascontiguousarray(np.moveaxis(x[order], 1, -1)) if last else x[order]
    parts = [
        moments(part, channel_axis=-1 if last else 1) for part in np.split(moved, sorted(cuts))
    ]
    random.shuffle(parts)
    total = sum(parts, bn.Moments())
    assert total.to_bytes() == moments(x).to_bytes()
    assert total == moments(x)


def test_merging_changes_one_side_only() -> None:
    """The other one stays as it is."""
    a, b = moments(spread("float32")[:9]), moments(spread("float32")[9:])
    before = b.to_bytes()
    a.merge(b)
    assert a == moments(spread("float32"))
    assert b.to_bytes() == before
    assert a != b


def test_what_a_mask_hides_may_be_anything() -> None:
    """NaN too; the layout does not matter."""
    x = spread("float32")
    mask = np.random.default_rng(2).random((30, 5)) < 0.5
    hidden = x.copy()
    hidden.transpose(0, 2, 1)[~mask] = np.nan
    got = moments(hidden, mask=mask)
    assert got == moments(x.transpose(0, 2, 1)[mask])
    assert got.n == mask.sum()
    last = np.moveaxis(hidden, 1, -1)
    assert moments(last, mask=mask, channel_axis=-1) == got


def test_no_values_are_the_empty_sum() -> None:
    """An empty part, an object without parts, and what they give."""
    x = spread("float32")
    none = moments(x, mask=np.zeros((30, 5), bool))
    assert (none.n, none.channels) == (0, 4)
    assert np.isnan([none.mean, none.var, none.unbiased_var]).all()
    assert none + moments(x) == moments(x)
    new = bn.Moments()
    assert (new.n, new.channels, new.mean.shape) == (0, None, (0,))
    assert repr(new) == "<Moments: n=0, channels=None>"
    assert new + moments(x) == moments(x) + new == moments(x)


def test_one_value_has_no_unbiased_variance() -> None:
    """It is NaN; the biased variance is 0."""
    got = moments(np.array([[2.0]]))
    assert (got.mean.tolist(), got.var.tolist()) == ([2.0], [0.0])
    assert np.isnan(got.unbiased_var).all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_values_that_are_not_finite_stay_in_their_channel(dtype: str) -> None:
    """Infinite means stay infinite; the order of the parts does not matter."""
    x = spread(dtype)
    x[0, 0, 0], x[1, 1, 1], x[2, 2, 2], x[3, 2, 3] = np.inf, np.nan, np.inf, -np.inf
    got = moments(x[:2], x[2:])
    np.testing.assert_array_equal(got.mean[:3], [np.inf, np.nan, np.nan])
    assert np.isnan(got.var[:3]).all()
    assert got.var[3] == moments(spread(dtype)).var[3]
    assert bn.Moments.from_bytes(got.to_bytes()) == got
    assert moments(x[2:], x[:2]) == got


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int16", "int32", "uint64", "int64"])
def test_integers_count_with_their_value(dtype: str) -> None:
    """Those of up to 53 bits."""
    most = {"bool": 2, "uint8": 256, "int16": 2**15}.get(dtype, 2**31)
    x = np.random.default_rng(3).integers(0, most, size=(20, 2, 3)).astype(dtype)
    assert moments(x) == moments(x.astype(np.float64))


@pytest.mark.parametrize("dtype", DTYPES)
def test_bytes_and_pickle_keep_all(dtype: str) -> None:
    """And are small."""
    got = moments(spread(dtype))
    assert bn.Moments.from_bytes(got.to_bytes()) == got
    assert pickle.loads(pickle.dumps(got)) == got  # noqa: S301 - it is ours
    assert len(got.to_bytes()) < 4 * 700


@given(st.data())
def test_damaged_bytes_are_refused_or_are_other_moments(data: st.DataObject) -> None:
    """Nothing that is read was written otherwise."""
    whole = moments(spread("float32")[:3]).to_bytes()
    at = data.draw(st.integers(0, len(whole) - 1))
    kind = data.draw(st.sampled_from(["cut", "more", "other"]))
    other = bytes([data.draw(st.integers(0, 255))])
    damaged = {
        "cut": whole[:at],
        "more": whole + other,
        "other": whole[:at] + other + whole[at + 1 :],
    }
    try:
        read = bn.Moments.from_bytes(damaged[kind])
    except bn.errors.RangeError:
        return
    assert kind == "other"
    assert read.to_bytes() == damaged[kind]


def test_channels_must_agree() -> None:
    """The error leaves the moments as they were."""
    a = moments(np.ones((2, 3)))
    with pytest.raises(bn.errors.ShapeError, match="have 3 channels, got 4"):
        a.update(np.ones((2, 4)))
    with pytest.raises(bn.errors.ShapeError, match="have 3 channels, got 4"):
        a.merge(moments(np.ones((2, 4))))
    assert a == moments(np.ones((2, 3)))


def test_bad_arguments_have_clear_errors() -> None:
    """Each has the error of its kind."""
    x = np.ones((2, 3, 4))
    with pytest.raises(bn.errors.ShapeError, match=r"have shape \(2, 4\)"):
        moments(x, mask=np.ones((2, 3, 4), bool))
    with pytest.raises(bn.errors.DtypeError, match="have dtype bool, got float64"):
        moments(x, mask=np.ones((2, 4)))
    with pytest.raises(bn.errors.RangeError, match="53 bits"):
        moments(np.array([[2**53 + 1]]))
    with pytest.raises(bn.errors.DtypeError):
        moments(x.astype(complex))
    with pytest.raises(bn.errors.RangeError):
        moments(x, channel_axis=3)
    with pytest.raises(TypeError):
        moments(x) + 1  # type: ignore[operator]
